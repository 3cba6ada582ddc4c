"""The module and the operator of an exporter's failure, from its traceback or its text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import TracebackType

from torch import nn
from torch.export import ExportedProgram

from scsc_lab.errors import last_line

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
