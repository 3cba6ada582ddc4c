"""The maps that rows of a report name: read from its folder, taken as data from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from scsc_lab.errors import InputError
from scsc_lab.records import Row

if TYPE_CHECKING:
    from scsc_lab.analysis.field import Field


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
