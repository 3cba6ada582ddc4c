"""Blocks that merge their own branches for inference: methods that other people's code has for it."""

from __future__ import annotations

import inspect

from torch import nn

from scsc_lab.errors import InputError, located

METHODS = (
    "fuse",
    "reparameterize",
    "switch_to_deploy",
    "merge_kernel",
    "merge_dilated_branches",
    "fuse_repvgg_block",
    "fuse_convs",
)
"""Names of such methods: timm's, in its order; RepVGG's, RepLKNet's, UniRepLKNet's, YOLO's."""


def method_of(module: nn.Module) -> str:
    """Return the name of a module's method that merges its branches and takes no argument; empty if it has none."""
    for name in METHODS:
        method = getattr(module, name, None)
        if inspect.ismethod(method):
            required = (p for p in inspect.signature(method).parameters.values() if p.default is p.empty)
            if all(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in required):
                return name
    return ""


def holds_branches(model: nn.Module, name: str) -> bool:
    """Return whether a module, or the one around a list of modules, merges branches: by a method, or as our mixers."""
    parts = name.split(".") if name else []
    while True:
        module = model.get_submodule(".".join(parts))
        if method_of(module) or type(module).__module__.startswith("scsc_lab.layers."):
            return True
        if not parts or not isinstance(module, (nn.ModuleList, nn.ModuleDict, nn.Sequential)):
            return False
        parts.pop()


def merge(module: nn.Module, name: str) -> nn.Module:
    """Call a module's own method, and return the module that replaces it: the method's result, or the module itself.

    Raises:
        InputError: if the method fails.
    """
    method = method_of(module)
    try:
        merged = getattr(module, method)()
    except NotImplementedError:  # a base class's
        return module
    except Exception as error:  # whatever the network's own code raises
        raise InputError(f"{name or type(module).__name__}.{method}() fails: {located(error)}") from error
    return merged if isinstance(merged, nn.Module) else module
