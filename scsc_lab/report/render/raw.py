"""Rows as data: CSV with raw numbers that no spreadsheet runs, and JSON as {schema, run, rows, notes}."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from scsc_lab.provenance import RunInfo
from scsc_lab.records import SCHEMA, Row
from scsc_lab.report.tables import Table
from scsc_lab.units import visible

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


_RAW = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that JSON allows in a text as they are, and terminals obey or files refuse."""


def render_json(table: Table, run: RunInfo) -> str:
    """Return the table's rows with how they were made; text reads back as it was."""
    notes = [*table.notes, *(note for part in table.details for note in part.notes)]
    document = {"schema": SCHEMA, "run": run.row(), "rows": list(table.raw), "notes": notes}
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    return _RAW.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n"


def in_ascii(text: str) -> str:
    """Return JSON in ASCII alone, for where no other character can be written."""
    return re.sub(r"[^\x00-\x7f]", lambda match: json.dumps(match[0])[1:-1], text)
