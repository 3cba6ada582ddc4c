"""Following a pass: the module that is running, and the threads that the network starts."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from scsc_lab.counting.recorder import Dispatch, Functions
from scsc_lab.counting.tally import Tally
from scsc_lab.counting.tensors import tensors
from scsc_lab.execution.passes import replaced


@contextlib.contextmanager
def watched(tally: Tally) -> Iterator[None]:
    """Watch what this thread does."""
    if tally.place.followed:
        yield
        return
    with torch.set_grad_enabled(tally.backward), Dispatch(tally), Functions(tally):
        tally.place.followed = True
        try:
            yield
        finally:
            tally.place.followed = False


@contextlib.contextmanager
def followed(model: nn.Module, tally: Tally) -> Iterator[None]:
    """Watch a pass, on every thread that it uses, and keep track of the module that is running.

    The hooks are torch's global ones, so no module is touched.
    """
    names = {id(module): name for name, module in model.named_modules()}
    begun: dict[tuple[int, int], contextlib.ExitStack] = {}

    def enter(module: nn.Module, args: Any) -> None:
        place = tally.place
        if not place.followed:
            if id(module) not in names:
                return
            stack = begun[threading.get_ident(), len(place.modules)] = contextlib.ExitStack()
            stack.enter_context(watched(tally))
        place.modules.append(names.get(id(module), place.modules[-1]))

    def leave(module: nn.Module, args: Any, out: Any) -> None:
        place = tally.place
        if not place.followed:
            return
        if id(module) in names:
            tally.outputs.setdefault(names[id(module)], tuple(tuple(x.shape) for x in tensors(out)))
        place.modules.pop()
        stack = begun.pop((threading.get_ident(), len(place.modules)), None)
        if stack is not None:
            stack.close()

    hooks = [register_module_forward_pre_hook(enter), register_module_forward_hook(leave, always_call=True)]
    try:
        with watched(tally), threads_watched(tally), autograd_functions_noted(tally), any_machine():
            yield
    finally:
        for hook in hooks:
            hook.remove()


@contextlib.contextmanager
def any_machine() -> Iterator[None]:
    """Keep networks and torch off paths that are for one machine: special processors, fused kernels, compiled code."""
    flex = sys.modules.get("torch.nn.attention.flex_attention")
    with (
        replaced(flex, "_validate_device", lambda *args: None) if flex else contextlib.nullcontext(),
        replaced(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT"),
        replaced(torch, "compile", lambda model=None, **options: model or (lambda function: function)),
        replaced(torch.backends.mkldnn, "enabled", False),  # its LSTM is one operator
        replaced(torch.backends.cudnn, "enabled", False),
    ):
        yield


@contextlib.contextmanager
def autograd_functions_noted(tally: Tally) -> Iterator[None]:
    """Keep track of whether the pass is inside an autograd function."""
    apply = vars(torch.autograd.Function)["apply"].__func__

    def noted(function: type[torch.autograd.Function], *args: Any, **options: Any) -> Any:
        tally.place.autograd_functions += 1
        try:
            return apply(function, *args, **options)
        finally:
            tally.place.autograd_functions -= 1

    with replaced(torch.autograd.Function, "apply", classmethod(noted)):
        yield


@contextlib.contextmanager
def threads_watched(tally: Tally) -> Iterator[None]:
    """Watch the threads that a watched thread starts, and the work that it gives to pools."""
    start, submit = threading.Thread.start, ThreadPoolExecutor.submit

    def watching(function: Callable[..., Any], module: str) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            with watched(tally):
                tally.place.modules[:] = [module]
                return function(*args, **kwargs)

        return run

    def start_watched(thread: threading.Thread) -> None:
        if tally.place.followed and not tally.place.submitting:
            # of this one thread: the class's own method stays as it is, which mypy takes for the only place
            thread.run = watching(thread.run, tally.place.modules[-1])  # type: ignore[method-assign]
        start(thread)

    def submit_watched(
        pool: ThreadPoolExecutor, function: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Future[Any]:
        place = tally.place
        if not place.followed:
            return submit(pool, function, *args, **kwargs)
        place.submitting = True  # the pool may start a thread that outlives the pass
        try:
            return submit(pool, watching(function, place.modules[-1]), *args, **kwargs)
        finally:
            place.submitting = False

    with (
        replaced(threading.Thread, "start", start_watched),
        replaced(ThreadPoolExecutor, "submit", submit_watched),
    ):
        yield
