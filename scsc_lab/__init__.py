"""Measure what a module does to a backbone: parameters, multiply-accumulates, latency, receptive field, accuracy.

The names below are found on first use, so that ``import scsc_lab`` imports no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scsc_lab.api import ablate, compare, count, erf, export, latency
    from scsc_lab.errors import InputError
    from scsc_lab.layers.scsc import SCSC
    from scsc_lab.models.deploy import deploy
    from scsc_lab.models.in_hand import build, network
    from scsc_lab.models.transplant import transplant
    from scsc_lab.networks.catalog import list_models
    from scsc_lab.networks.mixers import TransplantSpec
    from scsc_lab.networks.network import Network
    from scsc_lab.networks.specs import ResNetSpec, SCSCSpec, SwinSpec
    from scsc_lab.report.results import Count, Field

__version__ = "0.1.0"
__all__ = [
    "SCSC",
    "Count",
    "Field",
    "InputError",
    "Network",
    "ResNetSpec",
    "SCSCSpec",
    "SwinSpec",
    "TransplantSpec",
    "ablate",
    "build",
    "compare",
    "count",
    "deploy",
    "erf",
    "export",
    "latency",
    "list_models",
    "network",
    "transplant",
]

_HOMES = {
    "SCSC": "scsc_lab.layers.scsc",
    "Count": "scsc_lab.report.results",
    "Field": "scsc_lab.report.results",
    "InputError": "scsc_lab.errors",
    "ResNetSpec": "scsc_lab.networks.specs",
    "SCSCSpec": "scsc_lab.networks.specs",
    "SwinSpec": "scsc_lab.networks.specs",
    "TransplantSpec": "scsc_lab.networks.mixers",
    "ablate": "scsc_lab.api",
    "build": "scsc_lab.models.in_hand",
    "compare": "scsc_lab.api",
    "list_models": "scsc_lab.networks.catalog",
    "network": "scsc_lab.models.in_hand",
    "Network": "scsc_lab.networks.network",
    "count": "scsc_lab.api",
    "deploy": "scsc_lab.models.deploy",
    "erf": "scsc_lab.api",
    "export": "scsc_lab.api",
    "latency": "scsc_lab.api",
    "transplant": "scsc_lab.models.transplant",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'scsc_lab' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
