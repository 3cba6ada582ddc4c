"""Exporting a network: one file, written once it has been run in its runtime and agrees with torch."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from scsc_lab import __version__, store
from scsc_lab.errors import InputError, nearest
from scsc_lab.execution.agreement import Agreement, agreement
from scsc_lab.exporting import loaded, onnx_graph
from scsc_lab.exporting.trace import quiet, require_torch, traced
from scsc_lab.models import build
from scsc_lab.networks.network import Network
from scsc_lab.records import Row

SUFFIXES = (".onnx", ".pt2")
"""What files are called: ONNX, and torch's own exported programs."""

_BATCHES = {False: (1, 1), True: (1, 3)}
"""Images in the passes that are compared, by whether the batch is left open."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Exported:
    """A network that was exported.

    Attributes:
        network: the network.
        path: the file.
        bytes: its size.
        opset: version of ONNX's operators; ``None`` in a ``.pt2`` file.
        shape: shape of the input, ``(N, C, H, W)``; ``None`` for an open batch.
        resolution_assumed: whether nothing says the network's resolution, so that 224×224 was taken.
        agreement: how near its outputs are to torch's.
    """

    network: Network
    path: Path
    bytes: int
    opset: int | None
    shape: tuple[int | None, int, int, int]
    resolution_assumed: bool
    agreement: Agreement

    def row(self) -> Row:
        """Return it as one row of raw numbers; ``difference`` is relative to the largest output."""
        return {
            "model": str(self.network),
            "file": str(self.path),
            "bytes": self.bytes,
            "opset": self.opset,
            "resolution": list(self.shape[2:]),
            "batch": self.shape[0],
            "channels": self.shape[1],
            "difference": self.agreement.difference,
            "float32_rounding": self.agreement.rounding,
            "outputs_depend_on_input": self.agreement.telling,
        }


def check(path: Path, opset: int | None = None) -> None:
    """Raise InputError if a file cannot be exported to, before anything is done: its suffix, its place, packages."""
    if path.suffix not in SUFFIXES:
        raise InputError(f"-o {path}: a file ends in {' or '.join(SUFFIXES)}{nearest(path.suffix, SUFFIXES)}")
    if opset is not None and path.suffix != ".onnx":
        raise InputError("--opset goes with an .onnx file")
    if opset is not None and not onnx_graph.OPSETS[0] <= opset <= onnx_graph.OPSETS[1]:
        raise InputError(f"--opset {opset}: from {onnx_graph.OPSETS[0]} to {onnx_graph.OPSETS[1]}")
    if path.suffix == ".onnx":
        onnx_graph.require_packages()
        loaded.require_onnxruntime()
    store.check_writable(path)


def export(
    network: Network,
    path: Path,
    *,
    dynamic_batch: bool = False,
    opset: int | None = None,
    seed: int = 0,
    tell: Tell = lambda _: None,
) -> Exported:
    """Write a network to a file that another runtime runs, whole or not at all.

    What was exported is loaded in its runtime (ONNX Runtime, or ``torch.export``) and held against the network on two
    random inputs, of which an open batch has one and three images; only then is the file written.

    Args:
        network: the network, in the form and with the weights that it names; at the resolution it is measured at.
        path: ``.onnx``, or ``.pt2`` for torch's exported program.
        dynamic_batch: whether the number of images is left open. Default: one.
        opset: version of ONNX's operators. Default: the one that torch's exporter takes.
        seed: seed of random weights and inputs.
        tell: told what is being done.

    Raises:
        InputError: if the suffix is another, packages are missing, the network cannot be built or exported, or what was
            exported computes something else.
    """
    check(path, opset)
    require_torch()
    known = build.facts(network)
    model = build.build(network, seed)
    types = {one.dtype for one in model.parameters() if one.is_floating_point()}
    if len(types) == 1 and torch.float32 not in types:
        kind = str(*types).removeprefix("torch.")
        raise InputError(f"{network}: its weights are {kind}, and a file is written in float32: export model.float()")
    draws = torch.Generator().manual_seed(seed)
    inputs = [
        [torch.randn(images, known.channels, *known.resolution, generator=draws)] for images in _BATCHES[dynamic_batch]
    ]
    try:
        tell(f"exporting {network}")
        if path.suffix == ".onnx":
            about = {"scsc_lab": __version__, "network": str(network)}
            data = onnx_graph.onnx_model(model, inputs[0], dynamic_batch=dynamic_batch, opset=opset, about=about)
            tell("running it in ONNX Runtime")
            run = loaded.in_onnxruntime(data)
        else:
            data = _program(model, inputs[0], dynamic_batch)
            tell("running it in torch.export")
            run = loaded.in_torch(data)
        found = agreement(run, model, inputs, "what was written")
    except InputError as error:
        raise InputError(f"{network}: {error}") from error
    store.write(path, data)
    shape = (None if dynamic_batch else 1, known.channels, *known.resolution)
    written = onnx_graph.opset_of(data) if path.suffix == ".onnx" else None
    return Exported(network, path, len(data), written, shape, known.resolution_assumed, found)


def _program(model: torch.nn.Module, inputs: list[torch.Tensor], dynamic_batch: bool) -> bytes:
    """Return the bytes of a ``.pt2`` file."""
    buffer = io.BytesIO()
    with quiet():
        torch.export.save(traced(model, inputs, dynamic_batch=dynamic_batch), buffer)
    return buffer.getvalue()
