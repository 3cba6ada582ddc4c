"""From a module to ``torch.export``'s program: one pass in evaluation mode, and what fails in it, in plain words."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.nn import functional as F

from scsc_lab.errors import InputError, last_line
from scsc_lab.execution.passes import evaluating

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
                raise InputError(f"torch.export cannot trace it{of(error, model)}") from error
    if dynamic_batch and not _open(program):
        raise InputError(f"its batch cannot be left open: its code fixes the number of images at {len(examples[0])}")
    return program


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


_OPERATOR = re.compile(r"(?:target=|operator '|for )(?:torch\.ops\.)?((?:aten|prims|[a-z_]\w*)\.\w+(?:\.\w+)?)")
_NODE = re.compile(r"%(\w+)\s*(?::|=)")
_TELLING = re.compile(r"Could not|cannot|Cannot|not support|unsupported|No ONNX|[A-Z]\w+Error\b")


def of(error: BaseException, model: nn.Module, program: ExportedProgram | None = None) -> str:
    """Return the module, the operator and the reason of a failure, as text behind what failed.

    Args:
        error: what an exporter raised.
        model: the network.
        program: its graph, if there is one by now.
    """
    chain = list(_chain(error))
    text = "\n".join(str(link) for link in chain)
    match = _OPERATOR.search(text)
    module = _in_frames(chain, model)
    if program is not None:
        module = _in_program(_NODE.findall(text), program) or module
    where = [f"operator {match[1]}" if match else "", f"module {module}" if module else ""]
    place = " in ".join(part for part in where if part)
    return (f", {place}" if place else "") + f": {_reason(chain)}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and those that caused it, the last first."""
    visited: set[int] = set()
    while error is not None and id(error) not in visited:
        visited.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _in_frames(chain: list[BaseException], model: nn.Module) -> str:
    """Return the module whose code was running, innermost, with its class."""
    names = {id(module): name for name, module in model.named_modules()}
    for error in reversed(chain):
        trace: TracebackType | None = error.__traceback__
        place = ""
        while trace is not None:
            owner = trace.tb_frame.f_locals.get("self")
            if isinstance(owner, nn.Module) and id(owner) in names:
                place = _name_and_class(names[id(owner)], type(owner).__name__)
            trace = trace.tb_next
        if place:
            return place
    return ""


def _in_program(nodes: list[str], program: ExportedProgram) -> str:
    """Return the module that a node of the program stands in."""
    stacks = {node.name: node.meta.get("nn_module_stack") for node in program.graph.nodes}
    for name in nodes:
        stack = stacks.get(name)
        if stack:
            path, kind = list(stack.values())[-1]
            return _name_and_class(str(path), str(kind).rpartition(".")[2].removesuffix("'>"))
    return ""


def _name_and_class(path: str, kind: str) -> str:
    return f"{path} ({kind})" if path else kind


def _reason(chain: list[BaseException]) -> str:
    """Return the line that says most: that of the first cause, its first telling line."""
    first = chain[-1]
    lines = [line.strip() for line in str(first).splitlines() if line.strip()]
    reason = next((line for line in lines if _TELLING.search(line)), lines[0] if lines else "")
    return f"{type(first).__name__}: {reason}" if reason else last_line(first)


_ATTENTION = torch.ops.aten.scaled_dot_product_attention.default
_AXES = 4


def of_four_axes(program: ExportedProgram) -> ExportedProgram:
    """Return a program in which queries, keys and values are ``(N, heads, positions, channels)`` wherever one attends.

    Windows and mask units stand as an axis of their own in Hiera, NesT, Twins and SAM, heads are left out in others:
    they are made one with the images, or one head, and parted again behind. Nothing else is changed; where nothing is
    to be done it is the same program.
    """
    if all(_has_four(node) for node in program.graph.nodes if node.target == _ATTENTION):
        return program
    changed: ExportedProgram = program.run_decompositions({_ATTENTION: _attend})
    return changed


def _has_four(node: Any) -> bool:
    return all(argument.meta["val"].dim() == _AXES for argument in node.args[:3])


def _attend(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *rest: Any, **settings: Any
) -> Any:
    """Attend over four axes; ``NotImplemented`` leaves it to torch: they are four, or heads share their keys."""
    operands = (query, key, value)
    if settings.get("enable_gqa") or all(operand.dim() == _AXES for operand in operands):
        return NotImplemented
    leading = torch.broadcast_shapes(*(operand.shape[:-2] for operand in operands))
    heads = leading[-1] if len(leading) > _AXES - 2 else 1

    def four(x: Tensor) -> Tensor:
        return x.expand(*leading, *x.shape[-2:]).reshape(-1, heads, *x.shape[-2:])

    mask = None if attn_mask is None else four(attn_mask)
    out = F.scaled_dot_product_attention(four(query), four(key), four(value), mask, *rest, **settings)
    return out.reshape(*leading, *out.shape[-2:])
