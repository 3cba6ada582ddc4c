"""Export of a network to a file that is run in its runtime and compared with torch before it is written.

It has no column: the row of an export is the size of its file and how near its outputs are to torch's.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scsc_lab import __version__, files
from scsc_lab.errors import InputError, nearest
from scsc_lab.metrics import Metric, Progress
from scsc_lab.networks.network import Network
from scsc_lab.networks.values import InputTensor
from scsc_lab.records import Row
from scsc_lab.settings import Execution

if TYPE_CHECKING:
    import torch

    from scsc_lab.execution.agreement import Agreement

SUFFIXES = (".onnx", ".pt2")
"""Suffixes of files: ONNX, and torch's own exported programs."""

_BATCHES = {False: (1, 1), True: (1, 3)}
"""Images in the passes that are compared, by whether the batch is left open."""


@dataclass(frozen=True)
class Export:
    """Settings of an export.

    Attributes:
        path: the file: ``.onnx``, or ``.pt2`` for torch's exported program.
        dynamic_batch: whether the number of images is left open.
        opset: version of ONNX's operators; None for the one that torch's exporter takes.
        seed: seed of random weights and inputs.
    """

    path: str
    dynamic_batch: bool = False
    opset: int | None = None
    seed: int = 0

    def identity(self) -> dict[str, Any]:
        """Return what decides the file's content, as plain data."""
        suffix = Path(self.path).suffix
        return {"suffix": suffix, "dynamic_batch": self.dynamic_batch, "opset": self.opset, "seed": self.seed}


@dataclass(frozen=True)
class Exported:
    """A network that was exported.

    Attributes:
        network: the network.
        path: the file.
        bytes: its size.
        opset: version of ONNX's operators; ``None`` in a ``.pt2`` file.
        inputs: the tensors that it takes.
        batch: images in one pass; ``None`` where it is left open.
        resolution: input height and width, in pixels; empty where it takes other inputs than one image.
        resolution_assumed: whether nothing says the network's resolution, so that 224×224 was taken.
        agreement: how near its outputs are to torch's.
    """

    network: Network
    path: Path
    bytes: int
    opset: int | None
    inputs: tuple[InputTensor, ...]
    batch: int | None
    resolution: tuple[int, ...]
    resolution_assumed: bool
    agreement: Agreement

    def row(self) -> Row:
        """Return it as one row of raw numbers; ``difference`` is relative to the largest output."""
        return {
            "model": str(self.network),
            "file": str(self.path),
            "bytes": self.bytes,
            "opset": self.opset,
            "resolution": list(self.resolution),
            **({} if self.resolution else {"inputs": " ".join(map(str, self.inputs))}),
            "batch": self.batch,
            "channels": self.inputs[0].shape[1] if self.resolution else None,
            "difference": self.agreement.difference,
            "float32_rounding": self.agreement.rounding,
            "outputs_depend_on_input": self.agreement.depends_on_input,
        }


def require_writable(path: Path, opset: int | None = None) -> None:
    """Raise InputError if a file cannot be exported to, before anything is done: its suffix, its place, packages."""
    from scsc_lab.exporting import onnx_graph

    if path.suffix not in SUFFIXES:
        raise InputError(f"-o {path}: a file ends in {' or '.join(SUFFIXES)}{nearest(path.suffix, SUFFIXES)}")
    if opset is not None and path.suffix != ".onnx":
        raise InputError("--opset goes with an .onnx file")
    if opset is not None and not onnx_graph.OPSETS[0] <= opset <= onnx_graph.OPSETS[1]:
        raise InputError(f"--opset {opset}: from {onnx_graph.OPSETS[0]} to {onnx_graph.OPSETS[1]}")
    if path.suffix == ".onnx":
        onnx_graph.require_packages()
        onnx_graph.require_onnxruntime()
    files.check_writable(path)


def export(network: Network, settings: Export, progress: Callable[[str], None] = lambda _: None) -> Exported:
    """Write a network to a file that another runtime runs, whole or not at all.

    The exported file is loaded in its runtime (ONNX Runtime, or ``torch.export``) and compared with the network on two
    random inputs, of which an open batch has one and three images; only then is the file written.

    Args:
        network: the network, in the form and with the weights that it names; at the resolution it is measured at.
        settings: the file, and how to write it.
        progress: called with a description of each step.

    Raises:
        InputError: if the suffix is another, packages are missing, the network cannot be built or exported, or the file
            exported computes something else.
    """
    import torch

    from scsc_lab.execution import passes
    from scsc_lab.execution.agreement import agreement
    from scsc_lab.exporting import onnx_graph
    from scsc_lab.models import build

    path, dynamic_batch = Path(settings.path), settings.dynamic_batch
    require_writable(path, settings.opset)
    takes_image = build.takes_image(network)
    model = build.build(network, settings.seed)
    types = {weight.dtype for weight in model.parameters() if weight.is_floating_point()}
    if len(types) == 1 and torch.float32 not in types:
        kind = str(*types).removeprefix("torch.")
        raise InputError(f"{network}: its weights are {kind}, and a file is written in float32: export model.float()")
    draws = torch.Generator().manual_seed(settings.seed)
    tensors = build.inputs(network)
    execution = Execution("cpu", memory_format="contiguous")

    def drawn(images: int) -> list[torch.Tensor]:
        sized = [replace(x, shape=(images, *x.shape[1:])) if dynamic_batch else x for x in tensors]
        values = [passes.random_input(tensor, execution, draws) for tensor in sized]
        positional, keywords = passes.arguments(model, sized, values)
        if keywords:
            raise InputError(f"its argument {next(iter(keywords))!r} is given by name alone, behind ones left out")
        return list(positional)

    try:
        inputs = [drawn(images) for images in _BATCHES[dynamic_batch]]
        progress(f"exporting {network}")
        if path.suffix == ".onnx":
            about = {"scsc_lab": __version__, "network": str(network)}
            data = onnx_graph.onnx_model(
                model, inputs[0], dynamic_batch=dynamic_batch, opset=settings.opset, about=about
            )
            progress("running it in ONNX Runtime")
            run = onnx_graph.in_onnxruntime(data)
        else:
            data = _program(model, inputs[0], dynamic_batch)
            progress("running it in torch.export")
            run = onnx_graph.in_torch(data)
        agreed = agreement(run, model, inputs, "the written file")
    except InputError as error:
        raise InputError(f"{network}: {error}") from error
    files.write(path, data)
    written = onnx_graph.opset_of(data) if path.suffix == ".onnx" else None
    resolution = build.facts(network).resolution if takes_image else ()
    is_assumed = takes_image and build.facts(network).resolution_assumed
    batch = None if dynamic_batch else tensors[0].shape[0]
    return Exported(network, path, len(data), written, tensors, batch, resolution, is_assumed, agreed)


def _program(model: torch.nn.Module, inputs: list[torch.Tensor], dynamic_batch: bool) -> bytes:
    """Return the bytes of a ``.pt2`` file."""
    import torch

    from scsc_lab.exporting.trace import quiet, traced

    buffer = io.BytesIO()
    with quiet():
        torch.export.save(traced(model, inputs, dynamic_batch=dynamic_batch), buffer)
    return buffer.getvalue()


def measure(networks: Sequence[Network], settings: Export, progress: Progress) -> list[Row]:
    """Return one row per network, whose file is written; with a digest of the file."""
    rows = []
    for network in networks:
        exported = export(network, settings, progress)
        row = {key: value for key, value in exported.row().items() if key != "model"}
        rows.append({**row, "resolution_assumed": exported.resolution_assumed, "file_digest": _digest(exported.path)})
    return rows


def is_incomplete(row: Row, settings: Export) -> bool:
    """Return whether the file that is wanted is not that of a kept row."""
    path = Path(settings.path)
    return row["file"] != settings.path or not path.is_file() or _digest(path) != row["file_digest"]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


METRIC = Metric(
    name="export",
    columns=(),
    measure=measure,
    configure=lambda settings: Export("", seed=settings.execution.seed),
    alone=True,
    is_incomplete=is_incomplete,
    table_rows=lambda row: [{"table": "export", **row}],
)
