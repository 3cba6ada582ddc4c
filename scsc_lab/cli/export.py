"""``scsc-lab export``: a network as a file that another runtime runs."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from scsc_lab import units
from scsc_lab.cli import networks, options
from scsc_lab.errors import InputError
from scsc_lab.metrics.size import assumed
from scsc_lab.provenance import run_info
from scsc_lab.records import Row
from scsc_lab.report import render as formats
from scsc_lab.report import tables
from scsc_lab.report.tables import Column, Table


def export(
    context: typer.Context,
    models: options.Models = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="The file: .onnx (extra onnx), or .pt2 of torch.export."),
    ] = None,
    set_: options.Changes = None,
    weights: options.Weights = None,
    resolution: options.Resolution = None,
    channels: options.Channels = None,
    transplant: Annotated[
        bool, typer.Option("--transplant", help="With SCSC in place of the network's spatial operators.")
    ] = False,
    mixer: options.Mixers = None,
    rule: options.Rules = None,
    deploy: Annotated[bool, typer.Option("--deploy", help="The deploy form, fused for inference.")] = False,
    dynamic_batch: Annotated[
        bool, typer.Option("--dynamic-batch", help="Leave the number of images open. Default: one image.")
    ] = False,
    opset: Annotated[
        str | None, typer.Option("--opset", metavar="N", help="Version of ONNX's operators. Default: torch's own.")
    ] = None,
    seed: options.Seed = "0",
    format: options.Format = None,
) -> None:
    """Write a network to an ONNX file or a torch.export program, run there and compared with torch.

    The file is written whole or not at all, and only if it gives torch's output, to 1e-5, on random images.
    """
    if output is None:
        raise InputError("-o names the file, e.g. -o model.onnx")
    named = networks.read(context)
    if len(named.names) != 1 or len(named.transplants) > 1:
        raise InputError("one file holds one network: name one model, and one mixer at most")
    formats.choose(format, None)
    version = None if opset is None else options.whole("--opset", opset, 1000)

    from scsc_lab.experiments import export as exporting

    exporting.check(output, version)
    (network,) = replace(named, transplants=(), deploy=False).networks()
    network = network.with_transplant(named.transplants[0]) if named.transplants else network
    network = network.deployed() if deploy else network
    with _telling() as tell:
        exported = exporting.export(
            network, output, dynamic_batch=dynamic_batch, opset=version, seed=options.seed(seed), tell=tell
        )
    notes = _notes(exported.row(), output)
    if exported.resolution_assumed:
        notes += assumed([network])
    formats.emit(Table(_COLUMNS, (exported.row(),), notes=tuple(notes)), run_info(), format)


_COLUMNS = (
    tables.MODEL,
    tables.INPUT,
    Column("batch", "batch", lambda number: "open" if number is None else units.integer(number)),
    Column("file", "file", number=False),
    Column("bytes", "size (MB)", units.mega),
    Column("opset", "opset", lambda number: "" if number is None else units.integer(number)),
    Column("difference", "difference", lambda value: f"{value:.1e}"),
)


def _notes(row: Row, path: Path) -> list[str]:
    runtime = "ONNX Runtime" if path.suffix == ".onnx" else "torch.export"
    found = [
        f"Difference: the largest of {runtime}'s outputs to torch's on random images, over the largest output; "
        "up to 1e-05 is rounding in float32."
    ]
    if row["float32_rounding"] is not None:
        found.append(
            f"Beyond that, but torch's own float32 is {row['float32_rounding']:.1e} from its float64: this is rounding."
        )
    if not row["outputs_depend_on_input"]:
        found.append("The network gives the same output for different images, so that the comparison says little.")
    return found


@contextlib.contextmanager
def _telling() -> Iterator[Callable[[str], None]]:
    """Show on the terminal what is being done; nothing where the output is piped."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console

    with Console(file=sys.stderr).status("") as status:
        yield lambda what: status.update(what)
