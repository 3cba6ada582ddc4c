"""JSON: ``{"schema", "run", "rows", "notes"}`` with raw numbers."""

from __future__ import annotations

import json
import re

from scsc_lab.provenance import RunInfo
from scsc_lab.records import SCHEMA
from scsc_lab.report.tables import Table

_RAW = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that JSON allows in a text as they are, and terminals obey or files refuse."""


def render(table: Table, run: RunInfo) -> str:
    """Return the table's rows with how they were made; text reads back as it was."""
    notes = [*table.notes, *(note for part in table.details for note in part.notes)]
    document = {"schema": SCHEMA, "run": run.row(), "rows": list(table.raw), "notes": notes}
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    return _RAW.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n"


def in_ascii(text: str) -> str:
    """Return JSON in ASCII alone, for where no other character can be written."""
    return re.sub(r"[^\x00-\x7f]", lambda match: json.dumps(match[0])[1:-1], text)
