"""Attributes of others that are replaced for the time of a pass."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Replace an attribute of a module or class for a while; unittest.mock takes 90 ms to import."""
    original = vars(owner).get(name, getattr(owner, name))  # a class method as it is, not bound
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, original)
