"""``scsc-lab paper``: the claims of the SCSC paper's abstract, held against our own counts."""

from __future__ import annotations

from typing import Annotated

import typer

from scsc_lab.cli import options, rewritten
from scsc_lab.errors import InputError
from scsc_lab.provenance import run_info
from scsc_lab.records import Row
from scsc_lab.report import render as formats
from scsc_lab.report.claims import claims_table


def paper(
    tolerance: Annotated[
        str,
        typer.Option("--tolerance", metavar="POINTS", help="Exit with 1 if a figure is worse than claimed by more."),
    ] = "1",
    probe: options.Probe = None,
    format: options.Format = None,
    output: options.Output = None,
) -> int:
    """Hold the claims of the paper's abstract (arXiv 2308.07110) against our own counts.

    Exit code 1: a figure is worse than the paper claims by more than the tolerance.
    """
    points = _points(tolerance)
    formats.choose(format, output)

    from scsc_lab.experiments.paper import claim_rows, worse

    rows = claim_rows(rewritten.trained(probe))
    formats.emit(claims_table(rows), run_info(), format, output)
    failing = [row for row in rows if worse(row, points / 100)]
    for row in failing:
        typer.echo(_complaint(row), err=True)
    return 1 if failing else 0


def _points(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value < float("inf"):
        raise InputError(f"--tolerance {text!r}: points of percentage, a number from 0 up, e.g. 1")
    return value


def _complaint(row: Row) -> str:
    return f"scsc-lab: {row['claim']}: {100 * row['difference']:.2f} points worse than the paper claims"
