"""Files, written whole or not at all, and rows that are kept as they are measured."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from scsc_lab.errors import InputError
from scsc_lab.records import Row


def write(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all; its folder is created, an existing file replaced.

    Raises:
        InputError: if it cannot be written there.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        if path.is_dir():
            raise InputError(f"cannot write {path}: it is a folder; name a file")
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"cannot write {path}: {reason or error}") from None


class RowStore:
    """Rows in a JSON-lines file, appended one by one, so that a kill costs at most the row being written.

    A last line that a kill has torn is cut off when the store is opened; nothing else is touched.

    Args:
        path: the file; created, with its folder, when the first row is added.

    Raises:
        InputError: if the file cannot be read, or a line before the last is no row.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Row] = []
        self.repaired = False
        try:
            content = path.read_bytes() if path.exists() else b""
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}") from None
        *lines, torn = content.split(b"\n")
        for number, line in enumerate(lines, start=1):
            self.rows.append(self._row(line, number))
        if torn:
            self.repaired = True
            with path.open("rb+") as file:
                file.truncate(len(content) - len(torn))

    def append(self, row: Row) -> None:
        """Add one row to the file, durably, and to :attr:`rows`.

        Raises:
            InputError: if it cannot be written.
        """
        line = json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                file.write(line.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise InputError(f"cannot write {self.path}: {error.strerror}") from None
        self.rows.append(json.loads(line))

    def _row(self, line: bytes, number: int) -> Row:
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise InputError(f"{self.path} is no store of rows: line {number} is not a JSON object")
        return row


def as_lines(rows: Iterable[Row]) -> str:
    """Return rows as JSON lines; the same rows give the same text."""
    return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False, sort_keys=True) + "\n" for row in rows)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
