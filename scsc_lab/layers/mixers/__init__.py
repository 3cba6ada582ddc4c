"""Mixers, one file each: modules from maps to maps, ``(N, C, H, W)`` to ``(N, C', ceil(H / s), ceil(W / s))``.

Each is made by ``Mixer(in_channels, out_channels, stride, **settings)``; the class is named after its file. Its
``tail`` names the parts whose weights scale its output, by which a transplant sets that scale, and ``modulation`` the
convolutions with a bias by whose output it multiplies maps, which start close to linear.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from scsc_lab.networks import mixers


def load(name: str) -> Callable[..., Any]:
    """Return the class of a mixer of the registry."""
    mixer_class: Callable[..., Any] = getattr(
        importlib.import_module(f"{__name__}.{name}"), mixers.path_and_class(name)[1]
    )
    return mixer_class
