"""The rows of measurements as a store keeps them: those of one key together, whole, and free of what a store adds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from scsc_lab.errors import InputError
from scsc_lab.records import Row
from scsc_lab.report import schema
from scsc_lab.store import RowStore

BOOKKEEPING = ("key", "metric", "position", "of", "commit", "model", "network", "resolution")
"""What a store adds to what was measured."""


def stored(store: RowStore | None) -> dict[str, list[Row]]:
    """Return the rows of every task that the store has whole, by its key.

    Raises:
        InputError: if something else stands where a metric has a number.
    """
    keys = dict.fromkeys(str(row["key"]) for row in store.rows if "key" in row) if store else {}
    found = {key: one(store, key) for key in keys} if store else {}
    return {key: rows for key, rows in found.items() if rows is not None}


def one(store: RowStore, key: str) -> list[Row] | None:
    """Return the rows of one task if the store has all of them; see :func:`stored`."""
    rows = [row for row in store.find(key) if is_placed(row)]
    if not rows or not _whole(rows):
        return None
    bare = _bare(rows)
    for row in bare:
        if fault := schema.fault(row):
            raise InputError(f"{store.path}: the row {key}: {fault}")
    return bare


def is_placed(row: Row) -> bool:
    """Return whether a row says of which metric and of which of a task's networks it is."""
    return "metric" in row and all(type(row.get(name)) is int for name in ("position", "of"))


def _whole(rows: Sequence[Row]) -> bool:
    """Return whether rows of one key are those of every network of one task."""
    positions = sorted({int(row["position"]) for row in rows})
    return all(positions == [*range(row["of"])] for row in rows)


def _bare(rows: Iterable[Row]) -> list[Row]:
    """Return what was measured, in the order of the networks, without what a store adds."""
    ordered = {int(row["position"]): row for row in rows}  # the last of a position, where there are several
    return [{k: v for k, v in ordered[at].items() if k not in BOOKKEEPING} for at in sorted(ordered)]
