"""``scsc-lab erf``: effective receptive fields, drawn, and figures that can be compared across networks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scsc_lab.analysis.protocol import CONTRIBUTIONS, LAYOUTS, METHODS, Protocol
from scsc_lab.cli import options, progress, requests
from scsc_lab.cli.networks import Networks
from scsc_lab.cli.parameters import Without, command
from scsc_lab.errors import InputError
from scsc_lab.provenance import run_info
from scsc_lab.report import render as formats
from scsc_lab.report.figures import style

if TYPE_CHECKING:
    from scsc_lab.analysis.field import Field

_LARGEST_SAMPLE = 100_000


@command(example="scsc-lab erf swin_tiny scsc_swin_tiny -o erf.png")
def erf(
    networks: Annotated[Networks, Without("deploy")],
    context: typer.Context,
    stage: Annotated[
        list[str] | None,
        typer.Option("--stage", metavar="NAME", help="Stage by name or number, or all; repeatable. Default: the last."),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option("--layer", metavar="NAME", help="Module by dotted name, in place of a stage; repeatable."),
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option("--layout", metavar="NAME", help="Order of the map's axes, if its shape is ambiguous: nchw, ..."),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option("--images", metavar="FOLDER", help="Images to draw from, evenly. Default: synthetic 1/f images."),
    ] = None,
    samples: Annotated[str, typer.Option("--samples", metavar="N", help="Number of images.")] = "32",
    method: Annotated[
        str,
        typer.Option("--method", metavar="NAME", help="linear, or replknet: the published algorithm to the letter."),
    ] = "linear",
    contribution: Annotated[
        str | None,
        typer.Option("--contribution", metavar="NAME", help="Of gradients: abs, relu, signed. Default: abs."),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option("--seeds", metavar="N", help="Random initialisations to average. Default: 3, or 1 if trained."),
    ] = None,
    batch: Annotated[
        str | None, typer.Option("--batch", metavar="N", help="Images in one pass. Default: found; halved as needed.")
    ] = None,
    device: options.Device = "cpu",
    seed: options.Seed = "0",
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FILE.npz", help="Keep the maps, with all settings.")
    ] = None,
    from_: Annotated[
        Path | None, typer.Option("--from", metavar="FILE.npz", help="Draw and analyse saved maps; measure nothing.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="The figure: .png, .pdf or .svg. Default: erf_MODEL.png."),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option("--table", metavar="FILE", help="Write the table to a file; its suffix chooses the format."),
    ] = None,
    width: options.Width = None,
    no_titles: options.NoTitles = False,
    panels: options.Panels = "both",
    format: options.Format = None,
) -> None:
    """Draw effective receptive fields, with figures that can be compared across networks."""
    from scsc_lab.analysis import mapfile

    formats.choose(format, table)
    drawing = options.figures(width, no_titles, panels)
    style.check(output or _default_path(()))
    if save is not None:
        mapfile.check(save)
    if from_ is not None:
        requests.require_only(context, _DRAWING, "--from draws what was saved")
        measured, notes = mapfile.load(from_), list[str]()
    else:
        if method == "replknet" and contribution not in (None, "relu"):
            raise InputError("--method replknet drops negative gradients, as published: leave --contribution out")
        protocol = Protocol(
            method=options.choice("--method", method, METHODS) or "linear",
            contribution=options.choice("--contribution", contribution, CONTRIBUTIONS) or "abs",
            resolution=networks.resolution,
            samples=options.whole("--samples", samples, _LARGEST_SAMPLE),
            seeds=None if seeds is None else options.whole("--seeds", seeds, 1000),
            seed=options.seed(seed),
            stages=tuple(stage or ()),
            layers=tuple(layer or ()),
            layout=options.choice("--layout", layout, LAYOUTS),
            images=images,
            batch=None if batch is None else options.whole("--batch", batch),
            device=options.device(device),
        )
        if stage and layer:
            raise InputError("--stage and --layer: take one of them")
        if images is not None and not images.is_dir():
            raise InputError(f"no folder {str(images)!r}")
        measured, notes = _measured(networks, protocol)
    path = output or _default_path(measured)
    from scsc_lab.report import erf_table
    from scsc_lab.report.figures import erf as figure

    try:
        if save is not None:
            mapfile.save(measured, save)
            typer.echo(f"maps: {save}", err=True)
        style.save(figure.draw(measured, drawing), path, palette=True)
        typer.echo(f"figure: {path}", err=table is None and format not in (None, "table"))
    finally:  # what was measured is shown, whatever cannot be written
        formats.emit(erf_table.table(measured).noted(notes), run_info(device, measured[0].setting.seed), format, table)


_DRAWING = ("from_", "output", "table", "format", "width", "no_titles", "panels")
"""Parameters that mean something where nothing is measured."""


def _measured(networks: Networks, protocol: Protocol) -> tuple[list[Field], list[str]]:
    from scsc_lab.metrics.erf import fields

    measured = []
    built, notes = networks.build()
    for network in built:
        with progress.counted(str(network), protocol.samples * (protocol.seeds or 1)) as advance:
            measured += fields(network, protocol, advance)
    return measured, notes


def _default_path(measured: Sequence[Field]) -> Path:
    """Return ``erf_MODEL.png``, with every model's name, as far as a file's name can have them."""
    labels = list(dict.fromkeys(field.setting.model for field in measured))
    name = re.sub(r"[^\w.-]+", "_", "_".join(labels)).strip("_")
    return Path(f"erf_{name[:100]}.png")
