"""From a module to ``torch.export``'s program: the graph of one pass in evaluation mode, without gradients."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from scsc_lab.errors import InputError
from scsc_lab.execution.passes import evaluating
from scsc_lab.exporting import faults

_FEWEST_IMAGES = 2
"""Images in the example of a dynamic batch: torch takes a batch of one for a constant."""


def traced(model: nn.Module, inputs: Sequence[Tensor], *, dynamic_batch: bool = False) -> ExportedProgram:
    """Return what a network does in evaluation mode, as a graph of ATen's operators with its weights.

    Without gradients, so that shapes and orders of memory are those of inference; an attention with a learnt bias has
    another order of memory where gradients are wanted, and then fails behind ``torch.export``. What layers do for
    torch's own kernels is left out (:mod:`scsc_lab.layers.tracing`).

    Args:
        model: any network; it is left as it is.
        inputs: what ``forward`` takes, images first in each: ``(N, …)``.
        dynamic_batch: whether the number of images is left open. Default: that of the inputs.

    Raises:
        InputError: if the network cannot be traced, with the module and the operator at fault.
    """
    require_torch()
    examples = tuple(inputs)
    shapes = None
    if dynamic_batch:
        examples = tuple(torch.cat([x] * _FEWEST_IMAGES) if len(x) < _FEWEST_IMAGES else x for x in examples)
        shapes = tuple({0: Dim.DYNAMIC} for _ in examples)
    with quiet(), evaluating(model), torch.no_grad():
        try:
            program = torch.export.export(model, examples, dynamic_shapes=shapes, strict=False)
        except (KeyboardInterrupt, MemoryError):
            raise
        except BaseException as error:  # whatever the network's own code says to being traced
            try:  # by its bytecode, as torch's own exporter tries second
                program = torch.export.export(model, examples, dynamic_shapes=shapes, strict=True)
            except (KeyboardInterrupt, MemoryError):
                raise
            except BaseException:
                raise InputError(f"torch.export cannot trace it{faults.of(error, model)}") from error
    if dynamic_batch and not _open(program):
        raise InputError(f"its batch cannot be left open: its code fixes the number of images at {len(examples[0])}")
    return program


def require_torch() -> None:
    """Raise InputError if this torch is too old to export."""
    if not hasattr(torch.compiler, "is_exporting"):
        raise InputError(f"exporting needs torch 2.7 or newer; this is {torch.__version__}")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what torch's exporters print, log and warn of to themselves: what matters of it is an error."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _open(program: ExportedProgram) -> bool:
    """Return whether the first side of a program's first image input is left open."""
    user = set(program.graph_signature.user_inputs)
    inputs = [node for node in program.graph.nodes if node.op == "placeholder" and node.name in user]
    return all(isinstance(node.meta["val"].shape[0], torch.SymInt) for node in inputs)
