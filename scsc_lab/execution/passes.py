"""How a module is made to run: put on its device, called with random numbers, one pass at a time."""

from __future__ import annotations

import contextlib
import inspect
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import _get_current_function_mode_stack
from torch.utils._device import DeviceContext

from scsc_lab.errors import InputError
from scsc_lab.execution.pools import MEASURING
from scsc_lab.networks.values import InputTensor
from scsc_lab.settings import Execution
from scsc_lab.settings.declaration import spelled

_FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}

Run = Callable[[], object]
"""One pass, or any other piece of work that is done again and again."""

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
"""What a network's ``forward`` is called with: by place, and by name."""


def check_ends(model: nn.Module) -> None:
    """Raise RuntimeError if a module contains itself: whatever walks through it would not end."""
    inside: set[int] = set()
    visited: set[int] = set()

    def visit(module: nn.Module, name: str) -> None:
        if id(module) in inside:
            raise RuntimeError(f"its module {name!r} contains itself")
        if id(module) in visited:
            return
        visited.add(id(module))
        inside.add(id(module))
        for child, inner in module.named_children():
            visit(inner, f"{name}.{child}" if name else child)
        inside.remove(id(module))

    visit(model, "")


def prepare(model: nn.Module, execution: Execution) -> nn.Module:
    """Return a module as it runs: on its device, in its type and mode; its layout is apart."""
    model = model.to(torch.device(execution.device), dtype_of(execution))
    return model.train() if execution.train else model.eval()


def lay_out(model: nn.Module, memory_format: str) -> None:
    """Put a module's weights into an order of their elements, in place."""
    model.to(memory_format=_FORMATS[memory_format])  # type: ignore[call-overload]


def random_values(
    shape: Sequence[int], dtype: torch.dtype = torch.float32, generator: torch.Generator | None = None
) -> Tensor:
    """Return normal random numbers; for whole numbers and truth values 0 and 1, which are indices of any table."""
    if dtype.is_floating_point:
        return torch.randn(*shape, generator=generator).to(dtype)
    return torch.randint(0, 2, tuple(shape), generator=generator).to(dtype)


def random_input(tensor: InputTensor, execution: Execution, generator: torch.Generator | None = None) -> Tensor:
    """Return random values of an input, in the order and type in which it is fed; zeros could be faster."""
    dtype = getattr(torch, tensor.dtype or execution.dtype)
    order = _FORMATS[execution.memory_format] if len(tensor.shape) == 4 else torch.preserve_format
    return random_values(tensor.shape, dtype, generator).to(torch.device(execution.device), memory_format=order)


def arguments(model: nn.Module, inputs: Sequence[InputTensor], values: Sequence[Any]) -> Arguments:
    """Return what a network is called with: by place wherever its ``forward`` allows that, else by name.

    Args:
        model: the network.
        inputs: its input tensors.
        values: each of them, in their order.

    Raises:
        InputError: if ``forward`` takes other arguments.
    """
    positional = [value for tensor, value in zip(inputs, values, strict=True) if not tensor.name]
    keywords = {tensor.name: value for tensor, value in zip(inputs, values, strict=True) if tensor.name}
    signature = None
    with contextlib.suppress(TypeError, ValueError):  # of code that is not Python
        signature = inspect.signature(model.forward)
    if signature is None or (len(inputs) == 1 and not keywords):
        return tuple(positional), keywords
    option, parameters = spelled("--input", "inputs"), signature.parameters.values()
    arguments = f"forward takes {', '.join(map(str, parameters)) or 'nothing'}"
    unknown = next((name for name in keywords if name not in signature.parameters), "")
    if unknown and not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        raise InputError(f"{option} {unknown}: {arguments}")
    try:
        bound = signature.bind(*positional, **keywords)
    except TypeError as error:
        raise InputError(f"{option}: {error}; {arguments}") from None
    return bound.args, bound.kwargs


def one_pass(
    model: nn.Module, inputs: Arguments, execution: Execution, again: Callable[[], Arguments] | None = None
) -> Run:
    """Return one pass: forward without gradients, or forward and backward.

    Args:
        model: the module, prepared and laid out.
        inputs: its arguments.
        execution: how it runs.
        again: makes the input once more. A network that changes it in place, as far as torch keeps account of that, is
            then fed a copy from its second pass on, as whoever runs it has to; what copying takes is part of the pass.
    """
    positional, keywords = inputs
    fed = list(tensors([*positional, keywords]))
    versions = [x._version for x in fed]
    untouched: list[Tensor] = []

    def restore() -> None:
        if again is not None and not untouched and [x._version for x in fed] != versions:
            untouched.extend(tensors(list(again())))
        for x, original in zip(fed, untouched, strict=False):
            x.copy_(original)

    if not execution.train:

        def forward() -> None:
            with torch.inference_mode():
                restore()
                model(*positional, **keywords)

        return forward

    def forward_and_backward() -> None:
        model.zero_grad(set_to_none=True)
        restore()
        out = model(*positional, **keywords)
        parts = [part for part in tensors(out) if part.is_floating_point() and part.requires_grad]
        sum(part.float().sum() for part in parts).backward()  # type: ignore[union-attr]

    return forward_and_backward


def together(runs: Sequence[Run], execution: Execution) -> Run:
    """Return several passes as one that ends with the last of them: on CUDA in streams, else in threads."""
    if len(runs) == 1:
        return runs[0]
    if execution.device.startswith("cuda"):
        streams = [torch.cuda.Stream(execution.device) for _ in runs]

        def in_streams() -> None:
            current = torch.cuda.current_stream(execution.device)
            for stream, run in zip(streams, runs, strict=True):
                stream.wait_stream(current)
                with torch.cuda.stream(stream):
                    run()
            for stream in streams:
                current.wait_stream(stream)

        return in_streams
    pool = ThreadPoolExecutor(len(runs), initializer=torch.set_num_threads, initargs=(execution.threads,))

    def in_threads() -> None:
        for future in [pool.submit(run) for run in runs]:
            future.result()

    return in_threads


def dtype_of(execution: Execution) -> torch.dtype:
    """Return torch's element type."""
    dtype: torch.dtype = getattr(torch, execution.dtype)
    return dtype


def less_than_float32(execution: Execution) -> str:
    """Return what torch computes of float32 with fewer digits: ``convolutions in TF32`` on CUDA, unless forbidden."""
    if execution.dtype != "float32":
        return ""
    backends: Any = torch.backends
    if execution.device.startswith("cuda"):
        switches = (backends.cudnn, "conv"), (backends.cuda, "matmul")
    else:
        switches = (backends.mkldnn, "conv"), (backends.mkldnn, "matmul")
    kinds: dict[str, list[str]] = {}
    for name, (backend, kind) in zip(("convolutions", "products"), switches, strict=True):
        switch = getattr(backend, kind, backend)
        precision = getattr(switch, "fp32_precision", None)  # before torch 2.9 there is the old switch, of CUDA alone
        short = _SHORT.get(precision or "tf32" * bool(getattr(switch, "allow_tf32", False)))
        if short:
            kinds.setdefault(short, []).append(name)
    return ", ".join(f"{' and '.join(names)} in {short}" for short, names in kinds.items())


_SHORT = {"tf32": "TF32", "bf16": "bfloat16"}


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
def alone() -> Iterator[None]:
    """Measure in one thread at a time, without what the caller has set for all of torch.

    That is whether there are gradients, autocast, and the default type and device.

    Raises:
        InputError: inside ``with torch.device(…)``, which cannot be undone.
    """
    with MEASURING, torch.inference_mode(False), torch.enable_grad(), contextlib.ExitStack() as stack:
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        stack.callback(torch.set_default_dtype, torch.get_default_dtype())
        torch.set_default_dtype(torch.float32)
        default = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
        if any(isinstance(mode, DeviceContext) and mode is not default for mode in _get_current_function_mode_stack()):
            raise InputError("scsc_lab measures outside of `with torch.device(…)`: call it before or behind that block")
        if default is not None:
            stack.callback(torch.set_default_device, default.device)
            torch.set_default_device(None)
        yield


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


@contextlib.contextmanager
def unsampled() -> Iterator[None]:
    """Show the profilers of other threads, as Dask's, this thread only down to here.

    A frame that they hold keeps its tensors alive after its function has returned.
    """
    thread, frames_of_threads, visible = threading.get_ident(), sys._current_frames, sys._getframe(2)

    def frames() -> dict[int, FrameType]:
        return {**frames_of_threads(), thread: visible}

    with replaced(sys, "_current_frames", frames):
        yield
