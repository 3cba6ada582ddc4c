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

    Behind a link it is the file linked to that is replaced; a device or a pipe is written to.

    Raises:
        InputError: if it cannot be written there.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        if path.is_dir():
            raise InputError(f"cannot write {path}: it is a folder; name a file")
        path = path.resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():
            path.write_bytes(data)
            return
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

    Opening a store changes nothing. A last line that a kill has torn is left out, and cut off when a row is added.

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
        *lines, last = content.split(b"\n")
        for number, line in enumerate(lines, start=1):
            self.rows.append(self._row(line, number))
        self._whole = len(content)  # bytes to keep
        self._ended = not last  # whether the last line kept has its newline
        if last and (row := _object(last)) is not None:
            self.rows.append(row)
        elif last.startswith(b"{"):
            self.repaired, self._ended = True, True
            self._whole -= len(last)
        elif last:
            self._row(last, len(lines) + 1)

    def append(self, row: Row) -> None:
        """Add one row to the file, durably, and to :attr:`rows`.

        Raises:
            InputError: if it cannot be written.
        """
        line = json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.exists() and self.path.stat().st_size > self._whole:
                os.truncate(self.path, self._whole)
            with self.path.open("ab") as file:
                file.write(("" if self._ended else "\n").encode() + line.encode())
                file.flush()
                os.fsync(file.fileno())
                self._whole, self._ended = file.tell(), True
        except OSError as error:
            raise InputError(f"cannot write {self.path}: {error.strerror}") from None
        self.rows.append(json.loads(line))

    def _row(self, line: bytes, number: int) -> Row:
        row = _object(line)
        if row is None:
            raise InputError(f"{self.path} is no store of rows: line {number} is not a JSON object")
        return row


def _object(line: bytes) -> Row | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def as_lines(rows: Iterable[Row]) -> str:
    """Return rows as JSON lines; the same rows give the same text."""
    return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False, sort_keys=True) + "\n" for row in rows)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
