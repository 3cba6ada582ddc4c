"""Rows: raw numbers of measurements with their unit, scope and provenance. No torch, no formatted text."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

Row = dict[str, Any]
"""One measured row: raw numbers by key; a key carries its unit where the number has one (``median_seconds``)."""

SCHEMA = 1
"""Version of the JSON that rows are written in."""

_LONGEST_NAME = 100

_Item = TypeVar("_Item")
_Key = TypeVar("_Key")


def grouped(items: Iterable[_Item], key: Callable[[_Item], _Key]) -> dict[_Key, list[_Item]]:
    """Return items by a key, keys and items in the order in which they come."""
    groups: dict[_Key, list[_Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def change(value: float | None, baseline: float | None) -> float | None:
    """Return the change of ``value`` against ``baseline`` as a fraction (−0.25: a quarter less), if it is defined."""
    if value is None or not baseline:
        return None
    return value / baseline - 1.0


PARTIAL = "partial"
"""Status of a count of a network that has operators without a rule."""

_OF_OPERATORS = frozenset(
    {"macs", "double_macs", "forward_macs", "backward_macs", "flops", "activations", "roof_share"}
)


def is_lower_bound(row: Row, key: object) -> bool:
    """Return whether a row's number lacks the operators without a rule: those of its operations, in a partial count."""
    return row.get("status") == PARTIAL and row.get("name", "total") == "total" and key in _OF_OPERATORS


def file_name(label: str) -> str:
    """Return a network's label, or any other text, as part of a file's name.

    The name holds no separator, does not begin with a dot and is not too long for a file. Two texts have two names: one
    that had to be altered ends in a checksum of the whole text.
    """
    name = re.sub(r"[^\w.=,+-]+", "_", label, flags=re.ASCII).strip("_").lstrip(".-")[:_LONGEST_NAME]
    if name == label and name:
        return name
    return f"{name or 'unnamed'}_{zlib.crc32(label.encode(errors='surrogatepass')):08x}"
