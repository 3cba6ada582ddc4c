"""``scsc-lab models``: the catalog; ``scsc-lab paper``: the claims of the SCSC paper, compared with our own counts."""

from __future__ import annotations

from typing import Annotated

import typer

from scsc_lab import units
from scsc_lab.cli.parameters import Without, command, option
from scsc_lab.cli.shared import Probe
from scsc_lab.networks import catalog
from scsc_lab.provenance import run_info
from scsc_lab.records import grouped
from scsc_lab.report import render as formats
from scsc_lab.report.findings import claims_table
from scsc_lab.report.tables import Column, Table
from scsc_lab.settings import Output

_FAMILIES = tuple(dict.fromkeys(entry.family for entry in catalog.CATALOG.values()))


@command()
def models(
    output: Annotated[Output, Without("store")],
    family: Annotated[str | None, option("Only list networks of this family.", "--family", choices=_FAMILIES)] = None,
) -> None:
    """List the networks of the catalog with their input, aliases, published accuracy and its source."""
    rows = tuple(
        {
            "model": entry.name,
            "family": entry.family,
            "resolution": list(entry.resolution),
            "aliases": ", ".join(entry.aliases),
            "published_top1": entry.published.top1 if entry.published else None,
            "published_source": entry.published.source if entry.published else "",
            "source": entry.source,
            "inferred": entry.inferred,
        }
        for entry in catalog.CATALOG.values()
        if family in (None, entry.family)
    )
    columns = (
        Column("model", "model", number=False),
        Column("resolution", "input", units.size),
        Column("published_top1", "top-1", units.plain, unit="%"),
        Column("aliases", "aliases", number=False),
    )
    pico = [str(row["model"]) for row in rows if str(row["model"]).endswith("_pico")]
    inferred = grouped((row for row in rows if row["inferred"]), lambda row: row["inferred"])
    notes = (
        "top-1: ImageNet-1k accuracy as published, not measured here; --format json has the sources.",
        *(f"{', '.join(str(row['model']) for row in group)}: inferred: {text}." for text, group in inferred.items()),
        *([f"{', '.join(pico)}: scaled down for training on a CPU: {catalog.PICO_RULE}."] if pico else []),
    )
    formats.emit(Table(columns, rows, notes=notes), run_info(), output)


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
        shortfall = f"{100 * row['difference']:.2f} points worse than the paper claims"
        typer.echo(f"scsc-lab: {row['claim']}: {shortfall}", err=True)
    return 1 if failing else 0
