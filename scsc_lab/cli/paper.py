"""``scsc-lab paper``: the claims of the SCSC paper's abstract, compared with our own counts."""

from __future__ import annotations

from typing import Annotated

import typer

from scsc_lab.cli.parameters import Without, command, option
from scsc_lab.cli.shared import Probe
from scsc_lab.provenance import run_info
from scsc_lab.records import Row
from scsc_lab.report import render as formats
from scsc_lab.report.claims import claims_table
from scsc_lab.settings import Output


@command()
def paper(
    output: Annotated[Output, Without("store")],
    tolerance: Annotated[
        float,
        option(
            "Exit with 1 if a figure is worse than claimed by more than this.", "--tolerance", low=0, metavar="POINTS"
        ),
    ] = 1.0,
    probe: Probe = None,
) -> int:
    """Compare the claims of the paper's abstract (arXiv 2308.07110) with our own counts.

    Exit code 1: a figure is worse than the paper claims by more than the tolerance.
    """
    formats.choose(output)

    from scsc_lab.experiments import publish
    from scsc_lab.metrics.claims import worse

    rows = publish.claims(publish.trained(probe))
    formats.emit(claims_table(rows), run_info(), output)
    failing = [row for row in rows if worse(row, tolerance / 100)]
    for row in failing:
        typer.echo(_complaint(row), err=True)
    return 1 if failing else 0


def _complaint(row: Row) -> str:
    return f"scsc-lab: {row['claim']}: {100 * row['difference']:.2f} points worse than the paper claims"
