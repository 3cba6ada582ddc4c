"""Where the stages of a network are: the modules that make them up, and the modules that give their maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn


def stages(model: nn.Module) -> Mapping[str, tuple[str, ...]]:
    """Return the names of the modules that make up each stage; a network that says nothing has its children."""
    named = getattr(model, "stages", None)
    if isinstance(named, Mapping):
        return named
    return {name: (name,) for name, _ in model.named_children()}


def stage_maps(model: nn.Module) -> Mapping[str, str]:
    """Return the module whose output is the feature map of each stage, in order; none if the network says nothing.

    Our own networks say it themselves, timm's in their ``feature_info``: the last module of each stride is a stage.
    """
    named = getattr(model, "stage_maps", None)
    if isinstance(named, Mapping):
        return named
    by_stride: dict[int, str] = {}
    modules = dict(model.named_modules())
    for entry in _feature_info(model):
        if entry.get("module") in modules and "reduction" in entry:
            by_stride[entry["reduction"]] = entry["module"]
    return {f"stage{number}": module for number, module in enumerate(by_stride.values(), start=1)}


def _feature_info(model: nn.Module) -> Sequence[dict[str, Any]]:
    info = getattr(model, "feature_info", None)
    if info is not None and not isinstance(info, list):
        info = info.get_dicts() if hasattr(info, "get_dicts") else None
    return [entry for entry in info or [] if isinstance(entry, dict)]
