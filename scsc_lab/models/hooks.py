"""Hooks of a module that another module takes the place of: carried, or the reason why they cannot be."""

from __future__ import annotations

from typing import Any

from torch import nn

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_FLAGS = ("_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks_with_kwargs")


def carry(module: nn.Module, onto: nn.Module) -> None:
    """Let all hooks of a module's passes run on another module too, with their options and in their order."""
    for name in (*_HOOKS, *_FLAGS):
        getattr(onto, name).update(getattr(module, name))
    if module._is_full_backward_hook is not None:
        onto._is_full_backward_hook = module._is_full_backward_hook


def lost(module: nn.Module, *, takes_windows: bool) -> str:
    """Return why a mixer in the place of a module could not carry its hooks; empty if it could."""
    hooked = {name: hooks for name, part in module.named_modules() if (hooks := of(part))}
    own = hooked.pop("", [])
    if hooked:
        return f"the hooks of its part {next(iter(hooked))} would be lost"
    if any(type(hook).__module__.startswith("torch.nn.utils.") for hook in own):
        return "a hook computes its weight"
    return "its hooks take windows, and a mixer takes maps" if own and takes_windows else ""


def of(module: nn.Module) -> list[Any]:
    """Return the hooks of a module's passes."""
    return [hook for name in _HOOKS for hook in getattr(module, name).values()]
