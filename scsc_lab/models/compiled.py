"""Networks with ``torch.compile`` around some of their modules: taken out of its wrappers, and put back."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from torch import nn

from scsc_lab.models import hooks


def is_wrapper(module: nn.Module) -> bool:
    """Return whether a module is what ``torch.compile`` returns for one."""
    return hasattr(module, "dynamo_ctx") and isinstance(getattr(module, "_orig_mod", None), nn.Module)


def unwrap(model: nn.Module) -> tuple[nn.Module, dict[str, Any]]:
    """Return a network without wrappers, in place, and the wrappers by the names of their places, outer ones first."""
    wrappers: dict[str, Any] = {}
    while is_wrapper(model):
        wrappers[""] = model
        model = model.get_submodule("_orig_mod")
    while (wrapped := next((module for module in model.modules() if is_wrapper(module)), None)) is not None:
        for name, module in [*model.named_modules(remove_duplicate=False)]:
            if module is wrapped:
                wrappers[name] = wrapped
                model.set_submodule(name, wrapped.get_submodule("_orig_mod"))
    return model, wrappers


def wrap(model: nn.Module, wrappers: Mapping[str, Any]) -> nn.Module:
    """Return a network with its modules compiled again, in place, under those names that it still has."""
    again: dict[Any, nn.Module] = {}
    for name, wrapper in reversed([*wrappers.items()]):
        with contextlib.suppress(AttributeError):  # its place was inside a module that is gone
            if wrapper not in again:
                again[wrapper] = type(wrapper)(model.get_submodule(name), wrapper.dynamo_ctx)
                hooks.carry(wrapper, onto=again[wrapper])
            if not name:
                return again[wrapper]
            model.set_submodule(name, again[wrapper])
    return model
