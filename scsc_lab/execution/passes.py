"""How a module is made to run: put on its device, fed random numbers, one pass at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from scsc_lab.settings import Execution

_FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}

Run = Callable[[], object]
"""One pass, or any other piece of work that is done again and again."""


def prepare(model: nn.Module, execution: Execution) -> nn.Module:
    """Return a module as it runs: on its device, in its type and mode; its layout is apart."""
    model = model.to(torch.device(execution.device), dtype_of(execution))
    return model.train() if execution.train else model.eval()


def lay_out(model: nn.Module, memory_format: str) -> None:
    """Put a module's weights into an order of their elements, in place."""
    model.to(memory_format=_FORMATS[memory_format])  # type: ignore[call-overload]


def random_input(shape: Sequence[int], execution: Execution, seed: int) -> Tensor:
    """Return normal random numbers, in the order and type in which they are fed; zeros could be faster."""
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    order = _FORMATS[execution.memory_format]
    return x.to(torch.device(execution.device), dtype_of(execution), memory_format=order)


def one_pass(model: nn.Module, x: Tensor, execution: Execution, again: Callable[[], Tensor] | None = None) -> Run:
    """Return one pass: forward without gradients, or forward and backward.

    Args:
        model: the module, prepared and laid out.
        x: its input.
        execution: how it runs.
        again: makes the input once more. A network that changes it in place, as far as torch keeps account of that, is
            then fed a copy from its second pass on, as whoever runs it has to; what copying takes is part of the pass.
    """
    version = x._version
    untouched: Tensor | None = None

    def fresh_input() -> Tensor:
        nonlocal untouched
        if untouched is None and x._version != version and again is not None:
            untouched = again()
        return x if untouched is None else x.copy_(untouched)

    if not execution.train:

        def forward() -> None:
            with torch.inference_mode():
                model(fresh_input())

        return forward

    def forward_and_backward() -> None:
        model.zero_grad(set_to_none=True)
        out = model(fresh_input())
        parts = [part for part in tensors(out) if part.is_floating_point() and part.requires_grad]
        sum(part.float().sum() for part in parts).backward()  # type: ignore[union-attr]

    return forward_and_backward


def dtype_of(execution: Execution) -> torch.dtype:
    """Return torch's element type."""
    dtype: torch.dtype = getattr(torch, execution.dtype)
    return dtype


@contextlib.contextmanager
def using_threads(number: int) -> Iterator[None]:
    """Use this many threads for one operator on the CPU, and as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def evaluating(model: nn.Module, *, training: bool = False) -> Iterator[None]:
    """Put a network in evaluation (or training) mode, and every module back into its own mode afterwards."""
    modes = [(module, module.training) for module in model.modules() if hasattr(module, "training")]  # not if frozen
    model.train(training)
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def tensors(value: object) -> Iterator[Tensor]:
    """Yield the tensors of what a network returns, in order, however it packs them."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from tensors(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from tensors(part)


def arrays(output: object) -> list[Any]:
    """Return the tensors of what a network returns as NumPy arrays, half precision as float32."""
    return [
        (tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor).detach().cpu().numpy()
        for tensor in tensors(output)
    ]


@contextlib.contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Replace an attribute of a module or class for a while; unittest.mock takes 90 ms to import."""
    original = vars(owner).get(name, getattr(owner, name))  # a class method as it is, not bound
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, original)
