"""CSV: the rows with raw numbers, one column for every key that any row has; no cell that a spreadsheet runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from scsc_lab.provenance import RunInfo
from scsc_lab.records import Row
from scsc_lab.report.tables import Table
from scsc_lab.report.text import visible

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")
"""What a spreadsheet takes for the beginning of a formula."""


def render(table: Table, run: RunInfo) -> str:
    """Return the rows as CSV: numbers raw, the input size as ``224x320``, lists and mappings as JSON.

    Text that a spreadsheet would take for a formula begins with an apostrophe, which keeps it text.
    """
    return of_rows(table.raw)


def of_columns(table: Table) -> str:
    """Return the columns that a table shows as CSV, numbers raw."""
    keys = [key for column in table.columns for key in column.keys]
    return of_rows([{key: row.get(key) for key in keys} for row in table.rows])


def of_rows(raw: Sequence[Row]) -> str:
    """Return rows as CSV; see :func:`render`."""
    import pandas

    rows = [{_text(key): _scalar(key, value) for key, value in row.items()} for row in raw]
    return str(pandas.DataFrame(rows, dtype=object).to_csv(index=False, lineterminator="\n"))


def _scalar(key: str, value: Any) -> Any:
    if key == "resolution" and isinstance(value, (list, tuple)):
        return _text("x".join(map(str, value)))
    if isinstance(value, (dict, list, tuple)):
        return _text(json.dumps(value, ensure_ascii=False))
    return _text(value) if isinstance(value, str) else value


def _text(value: str) -> str:
    guarded = f"'{value}" if value.startswith(_FORMULA) else value
    return "\n".join(map(visible, guarded.split("\n")))
