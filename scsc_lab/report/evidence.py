"""The rows that a report rests on, and the files that they name: read from a folder, taken as data from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from scsc_lab import store
from scsc_lab.errors import InputError
from scsc_lab.records import SCHEMA, Row
from scsc_lab.report import schema

if TYPE_CHECKING:
    from scsc_lab.analysis.field import Field

ROWS = "rows.jsonl"
"""The evidence: every raw number of a report, one row a line."""


def reports(rows: Sequence[Row]) -> list[list[Row]]:
    """Return the rows of each report among rows; those of a store, which are of no table, are left out."""
    found: list[list[Row]] = []
    for row in rows:
        if row.get("table") == "run":
            found.append([])
        if isinstance(row.get("table"), str) and found:
            found[-1].append(row)
    return found


def read(path: Path) -> list[Row]:
    """Return the rows of a report.

    Raises:
        InputError: if the file is not there, holds no rows of a report, or rows of another schema.
    """
    if not path.is_file():
        raise InputError(f"no file {str(path)!r}: name the rows.jsonl of a report")
    rows = store.RowStore(path).rows
    if not rows or rows[0].get("table") != "run":
        raise InputError(f"{path} is not the rows of a report: its first row does not say how they were measured")
    check_schema(path, rows[0])
    for number, row in enumerate(rows, start=1):
        if not isinstance(row.get("table"), str):
            raise InputError(f"{path}, row {number}: it does not say of which table it is")
    schema.check(rows, str(path))
    return rows


def check_schema(path: Path, first: Row) -> None:
    """Raise InputError if a report's rows, of which the first is given, are of another schema."""
    version = first.get("schema", SCHEMA)
    if version != SCHEMA:
        raise InputError(f"{path} holds rows of schema {version!r}; this version reads {SCHEMA}: measure again")


def check_overwritten(path: Path) -> None:
    """Raise InputError if a report would take the place of rows that a store has kept, of training say."""
    if path.is_file() and any("key" in row for row in store.RowStore(path).rows):
        raise InputError(
            f"{path} holds rows that a --store has kept, which a report would overwrite: give another --name"
        )


def fields(folder: Path, rows: Sequence[Row]) -> list[Field]:
    """Return the receptive fields whose maps rows name, one a row.

    Args:
        folder: the report's folder, in which the files lie.
        rows: rows with ``map_file``, a path in that folder.

    Raises:
        InputError: if a file lies elsewhere, cannot be read, or holds several fields.
    """
    from scsc_lab.analysis import mapfile

    found = []
    for row in rows:
        held = mapfile.load(inside(folder, str(row["map_file"])))
        if len(held) != 1:
            raise InputError(f"{row['map_file']!r} holds {len(held)} fields, where its row is about one")
        found += held
    return found


def with_stages(rows: Sequence[Row]) -> list[Row]:
    """Return rows, and behind that of a field those of the stages that it holds."""
    found = []
    for row in rows:
        stages = row.get("stages")
        found += [row, *(stage for stage in (stages if isinstance(stages, list) else ()) if isinstance(stage, dict))]
    return found


def inside(folder: Path, name: str) -> Path:
    """Return the path of a file in a folder or below it, from a name that comes from elsewhere.

    Raises:
        InputError: if the name leads out of the folder.
    """
    try:
        path = (folder / name).resolve()
        if not Path(name).is_absolute() and path.is_relative_to(folder.resolve()) and path != folder.resolve():
            return path
    except (OSError, ValueError, RuntimeError):
        pass
    raise InputError(f"the rows name the file {name!r}, which is not in the report's folder")
