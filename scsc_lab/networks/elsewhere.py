"""Which installed packages have a network of some name: read from their sources, so that neither is imported."""

from __future__ import annotations

import functools
import importlib.util
import re
from pathlib import Path

PACKAGES = ("timm", "torchvision")
"""Packages whose networks are measured under ``PACKAGE:NAME``."""


def names(bare: str) -> list[str]:
    """Return ``timm:NAME`` and ``torchvision:NAME`` for the packages that are installed and have such a network."""
    name = bare.strip().lower().replace("-", "_")
    return [f"{package}:{name}" for package in PACKAGES if name in _registered(package)]


@functools.lru_cache(maxsize=len(PACKAGES))
def _registered(package: str) -> frozenset[str]:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return frozenset()
    found: set[str] = set()
    for file in (Path(spec.origin).parent / "models").rglob("*.py"):
        text = file.read_text(encoding="utf-8", errors="ignore")
        found.update(re.findall(r"^@register_model\b[^\n]*\n(?:@[^\n]*\n)*def (\w+)\(", text, re.MULTILINE))
    return frozenset(found)
