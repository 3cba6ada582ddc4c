"""What modules from elsewhere declare and carry: their input, whether they end, hooks and compiled wrappers."""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from scsc_lab.errors import InputError, last_line
from scsc_lab.execution.passes import check_ends

USUAL_RESOLUTION = (224, 224)
"""Input height and width, in pixels, that is taken where a network declares none."""


@dataclass(frozen=True)
class Declared:
    """Input that a network declares: size in pixels, channels and normalisation, as far as it does."""

    resolution: tuple[int, int] | None = None
    channels: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


def declared(source: object) -> Declared | None:
    """Return what a factory or a module says of its input, or ``None`` if that is nothing that can be understood."""
    for config in (getattr(source, name, None) for name in ("pretrained_cfg", "default_cfg")):
        get = config.get if isinstance(config, Mapping) else functools.partial(getattr, config)
        if config is not None and (size := _size(get("input_size", None))):
            return Declared(size[1:], size[0], _floats(get("mean", None)), _floats(get("std", None)))
    size = _size(getattr(source, "input_size", None))
    return Declared(size[1:], size[0]) if size else None


def _size(size: object) -> tuple[int | None, int, int] | None:
    """Return channels, height and width of a size as networks write it."""
    numbers = [size, size] if isinstance(size, int) else list(size) if isinstance(size, (list, tuple)) else []
    if len(numbers) not in (2, 3) or not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in numbers):
        return None
    channels = numbers[0] if len(numbers) == 3 else None
    return channels, numbers[-2], numbers[-1]


def _floats(values: object) -> tuple[float, ...] | None:
    return tuple(map(float, values)) if isinstance(values, (list, tuple)) else None


def require_module(model: object) -> None:
    """Raise InputError for anything that is not a module."""
    if not isinstance(model, nn.Module):
        raise InputError(f"model {model!r}: a module; scsc_lab.build returns that of a name")


def copied(model: nn.Module) -> nn.Module:
    """Return a copy of a network, with the hooks of its weights.

    Raises:
        InputError: if it cannot be copied, as with the hooks of the old ``weight_norm`` and ``spectral_norm``.
    """
    try:
        check_ends(model)
        twin = copy.deepcopy(model)
    except Exception as error:  # whatever the network holds
        if any(isinstance(getattr(module, "weight_g", None), nn.Parameter) for module in model.modules()):
            raise InputError(
                f"{type(model).__name__} cannot be copied: it has the old weight_norm; "
                "use torch.nn.utils.parametrizations.weight_norm"
            ) from None
        raise InputError(f"{type(model).__name__} cannot be copied: {last_line(error)}") from error
    for tensor, copied_tensor in zip(model.parameters(), twin.parameters(), strict=True):
        for method, hook in hooks_of_weight(tensor):  # which deepcopy leaves behind
            getattr(copied_tensor, method)(hook)
    return twin


_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_OF_STATE_DICTS = (
    *("_state_dict_hooks", "_state_dict_pre_hooks"),
    *("_load_state_dict_pre_hooks", "_load_state_dict_post_hooks"),
)
_FLAGS = ("_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks_with_kwargs")


def carry_hooks(module: nn.Module, onto: nn.Module) -> None:
    """Let all hooks of a module's passes run on another module too, with their options and in their order."""
    for name in (*_HOOKS, *_FLAGS):
        getattr(onto, name).update(getattr(module, name))
    if module._is_full_backward_hook is not None:
        onto._is_full_backward_hook = module._is_full_backward_hook


def lost(module: nn.Module, *, takes_windows: bool) -> str:
    """Return why a mixer in the place of a module could not carry its hooks; empty if it could."""
    hooked = {name: hooks for name, part in module.named_modules() if (hooks := hooks_of(part))}
    on_itself = hooked.pop("", [])
    if hooked:
        return f"the hooks of its part {next(iter(hooked))} would be lost"
    if any(type(hook).__module__.startswith("torch.nn.utils.") for hook in on_itself):
        return "a hook computes its weight"
    if any(map(hooks_of_weight, module.parameters())):
        return "the hooks of its weights would be lost"
    for part in module.modules():
        for hook in _hooks(part, _OF_STATE_DICTS):
            function = getattr(hook, "hook", hook)  # torch wraps those that know their module
            is_its_own = any(getattr(function, "__self__", None) is own_part for own_part in module.modules())
            is_torchs = str(getattr(function, "__module__", type(function).__module__)).startswith("torch.")
            if not (is_its_own or is_torchs):
                return "its hooks of state dicts would be lost"
    return "its hooks take windows, and a mixer takes maps" if on_itself and takes_windows else ""


def hooks_of_weight(weight: Tensor) -> list[tuple[str, Any]]:
    """Return the hooks of a weight's gradients, each with the name of the method that registers it."""
    return [
        (method, hook)
        for method, name in (
            ("register_hook", "_backward_hooks"),
            ("register_post_accumulate_grad_hook", "_post_accumulate_grad_hooks"),
        )
        for hook in (getattr(weight, name, None) or {}).values()
    ]


def hooks_of(module: nn.Module) -> list[Any]:
    """Return the hooks of a module's passes."""
    return _hooks(module, _HOOKS)


def _hooks(module: nn.Module, names: Sequence[str]) -> list[Any]:
    return [hook for name in names for hook in getattr(module, name, {}).values()]


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
                carry_hooks(wrapper, onto=again[wrapper])
            if not name:
                return again[wrapper]
            model.set_submodule(name, again[wrapper])
    return model
