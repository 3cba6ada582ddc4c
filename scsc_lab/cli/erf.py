"""``scsc-lab erf``: effective receptive fields, drawn, and figures that can be compared across networks."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scsc_lab.cli import running, shared
from scsc_lab.cli.networks import Networks
from scsc_lab.cli.parameters import Without, command, option, output_file
from scsc_lab.errors import InputError
from scsc_lab.experiments.compare import comparison
from scsc_lab.experiments.experiment import Measure
from scsc_lab.files import results
from scsc_lab.metrics.erf import WithMaps, configure
from scsc_lab.records import Row
from scsc_lab.report.figures import style
from scsc_lab.settings import Drawing, Execution, Fields, Output, Settings

if TYPE_CHECKING:
    from scsc_lab.analysis.field import Field
    from scsc_lab.store import Store


@command(first="--stage --resolution --weights --images --output")
def erf(
    context: typer.Context,
    networks: Annotated[Networks, Without("deploy", "input")],
    fields: Fields,
    execution: Annotated[Execution, Without("dtype", "memory_format", "threads", "streams", "train", "batch")],
    drawing: Drawing,
    output: Annotated[Output, Without("output")],
    figure: Annotated[
        Path | None,
        output_file("Draw the figure to this file: .png, .pdf or .svg. Default: erf_MODEL.png.", "-o/--output"),
    ] = None,
    table: Annotated[
        Path | None, output_file("Write the table to this file. Its suffix chooses the format.", "--table")
    ] = None,
    save: Annotated[
        Path | None, option("Save the maps, with all settings.", "--save", metavar="FILE.npz", panel="Output")
    ] = None,
    from_: Annotated[
        Path | None,
        option("Draw and analyse saved maps instead of measuring.", "--from", metavar="FILE.npz", panel="Networks"),
    ] = None,
) -> int:
    """Measure and draw effective receptive fields, so that networks can be compared."""
    from scsc_lab.analysis import mapfile

    written = replace(output, output=table)
    store = running.opened(written)
    style.check(figure or _default_path(()))
    if save is not None:
        mapfile.check(save)
    built, interrupted = None, False
    if from_ is not None:
        shared.require_only(context, _DRAWING, "--from draws saved maps")
        measured = mapfile.load(from_)
        rows = [field.row() for field in measured]
    else:
        if fields.images is not None and not fields.images.is_dir():
            raise InputError(f"no folder {str(fields.images)!r}")
        built = networks.build()
        settings = configure(Settings(execution, fields=fields))
        settings = WithMaps(**vars(settings)) if save is not None else settings
        experiment = comparison(built.networks, ["erf"], [Measure("erf", settings)])
        result = running.measure([experiment], store)
        rows, failures, interrupted = *_rows(result.results[0].rows, execution.seed), result.interrupted
        built = replace(built, failures=[*built.failures, *failures])
        measured = [_field(row, store) for row in rows]
    path = figure or _default_path(measured)
    from scsc_lab.report import fields as blocks
    from scsc_lab.report.figures import erf as figures

    try:
        if save is not None:
            mapfile.save(measured, save)
            typer.echo(f"maps: {save}", err=True)
        style.save(figures.draw(measured, drawing, rows), path, palette=True)
        with_maps = table is None and output.format not in (None, "table")
        typer.echo(f"figure: {path}", sys.stderr if with_maps else results())
    finally:  # what was measured is shown, whatever cannot be written
        table_of_fields = blocks.merits_table([{key: row[key] for key in row if key != "map_file"} for row in rows])
        seed = measured[0].setting.seed
        code = running.show(table_of_fields, written, built, device=execution.device, seed=seed, cut=interrupted)
    return code


_DRAWING = ("from_", "figure", "table", "format", "width", "titles", "panels")
"""Parameters that mean something where nothing is measured."""


def _rows(measured: Sequence[Row], seed: int) -> tuple[list[Row], list[Row]]:
    """Return one row per field, and one per network that has none.

    Raises:
        InputError: if no network has a field.
    """
    rows, failures = [], []
    for row in measured:
        if "erf_failure" in row:
            failures.append({"model": row["model"], "status": "failed", "failure": row["erf_failure"].rstrip(".")})
        elif "r50" in row:
            names = {"model": row["model"], "resolution": row["resolution"]}
            stages = row.get("stages") or [row]
            rows += [{**stage, **names, "seeds": stage["initialisations"], "seed": seed} for stage in stages]
    if not rows:
        raise InputError(failures[0]["failure"])
    return rows, failures


def _field(row: Row, store: Store) -> Field:
    """Return the field of a row from the map that its store has."""
    from scsc_lab.analysis import mapfile

    name = row["map_file"]
    (field,) = mapfile.load(Path(name), store.map(name))
    return replace(field, setting=replace(field.setting, model=row["model"]))


def _default_path(measured: Sequence[Field]) -> Path:
    """Return ``erf_MODEL.png``, with every model's name, as far as a file's name can have them."""
    labels = list(dict.fromkeys(field.setting.model for field in measured))
    name = re.sub(r"[^\w.-]+", "_", "_".join(labels)).strip("_")
    return Path(f"erf_{name[:100]}.png")
