"""``scsc-lab erf``: effective receptive fields, drawn, and figures that can be compared across networks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scsc_lab.cli import progress, requests
from scsc_lab.cli.networks import Networks
from scsc_lab.cli.parameters import Without, command, option
from scsc_lab.errors import InputError
from scsc_lab.provenance import run_info
from scsc_lab.report import render as formats
from scsc_lab.report.figures import style
from scsc_lab.settings import Drawing, Execution, Fields, Output, Settings

if TYPE_CHECKING:
    from scsc_lab.analysis.field import Field


@command(example="scsc-lab erf swin_tiny scsc_swin_tiny -o erf.png")
def erf(
    context: typer.Context,
    networks: Annotated[Networks, Without("deploy")],
    fields: Fields,
    execution: Annotated[Execution, Without("dtype", "memory_format", "threads", "train", "batch")],
    drawing: Drawing,
    output: Annotated[Output, Without("output")],
    figure: Annotated[
        Path | None,
        option(
            "Draw the figure to this file: .png, .pdf or .svg. Default: erf_MODEL.png.",
            "-o/--output",
            metavar="FILE",
            panel="Output",
        ),
    ] = None,
    table: Annotated[
        Path | None,
        option(
            "Write the table to this file. Its suffix chooses the format.", "--table", metavar="FILE", panel="Output"
        ),
    ] = None,
    save: Annotated[
        Path | None, option("Save the maps, with all settings.", "--save", metavar="FILE.npz", panel="Output")
    ] = None,
    from_: Annotated[
        Path | None,
        option("Draw and analyse saved maps instead of measuring.", "--from", metavar="FILE.npz", panel="Networks"),
    ] = None,
) -> None:
    """Measure and draw effective receptive fields, so that networks can be compared."""
    from scsc_lab.analysis import mapfile

    formats.choose(output.format, table)
    style.check(figure or _default_path(()))
    if save is not None:
        mapfile.check(save)
    if from_ is not None:
        requests.require_only(context, _DRAWING, "--from draws what was saved")
        measured, notes = mapfile.load(from_), list[str]()
    else:
        if fields.images is not None and not fields.images.is_dir():
            raise InputError(f"no folder {str(fields.images)!r}")
        measured, notes = _measured(networks, Settings(execution, fields=fields))
    path = figure or _default_path(measured)
    from scsc_lab.report import erf_table
    from scsc_lab.report.figures import erf as figures

    try:
        if save is not None:
            mapfile.save(measured, save)
            typer.echo(f"maps: {save}", err=True)
        style.save(figures.draw(measured, drawing), path, palette=True)
        typer.echo(f"figure: {path}", err=table is None and output.format not in (None, "table"))
    finally:  # what was measured is shown, whatever cannot be written
        info = run_info(execution.device, measured[0].setting.seed)
        formats.emit(erf_table.table(measured).noted(notes), info, output.format, table)


_DRAWING = ("from_", "figure", "table", "format", "width", "titles", "panels")
"""Parameters that mean something where nothing is measured."""


def _measured(networks: Networks, settings: Settings) -> tuple[list[Field], list[str]]:
    from scsc_lab.metrics.erf import fields

    measured = []
    built, notes = networks.build()
    for network in built:
        with progress.counted(str(network), settings.fields.samples * (settings.fields.seeds or 1)) as advance:
            measured += fields(network, settings, advance)
    return measured, notes


def _default_path(measured: Sequence[Field]) -> Path:
    """Return ``erf_MODEL.png``, with every model's name, as far as a file's name can have them."""
    labels = list(dict.fromkeys(field.setting.model for field in measured))
    name = re.sub(r"[^\w.-]+", "_", "_".join(labels)).strip("_")
    return Path(f"erf_{name[:100]}.png")
