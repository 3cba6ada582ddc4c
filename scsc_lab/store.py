"""The store: experiments, their arms, the rows measured for them and their maps, in one SQLite file or in memory.

An experiment is written before anything is measured. A measurement is written whole, in one transaction, under a unique
key: repeated and concurrent measurements are harmless, and a kill loses at most the measurement under way.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from scsc_lab.errors import InputError
from scsc_lab.files import committed, prepared
from scsc_lab.records import Row

_USE = ("arm", "key", "position", "part", "metric")
"""Columns of ``uses`` beside the experiment."""

_NOTICE_SECONDS = 5.0
"""How long a lock of another process is waited for in silence."""

_LONGEST_WAIT = 600.0

_T = TypeVar("_T")


class Store:
    """A store in a file, or in memory.

    Any number of processes may use one file. Opening a file that does not exist yet creates nothing; the first write
    does. A file that is moved away or replaced while it is open is opened anew, and what this process has registered is
    registered there too.

    Args:
        path: the file; ``None`` for a store in memory, which ends with the object.

    Raises:
        InputError: if the file is no store, was written by a newer version, or cannot be read; in each method, if it
            cannot be read or written.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._registered: list[tuple[Row, list[Row], list[Row]]] = []
        self._temporary: Path | None = None
        if path is None or path.exists():
            self._read(lambda connection: None)

    @property
    def checkpoints(self) -> Path:
        """Folder of the files that interrupted measurements resume from: beside the file, or a temporary one."""
        if self.path is not None:
            return self.path.with_name(f"{self.path.stem}.checkpoints")
        if self._temporary is None:
            self._temporary = Path(tempfile.mkdtemp(prefix="scsc-lab-"))
            weakref.finalize(self, shutil.rmtree, self._temporary, ignore_errors=True)
        return self._temporary

    def register(self, experiment: Row, arms: Sequence[Row], uses: Sequence[Row]) -> None:
        """Write an experiment, its arms and the measurements it asks for; one that is there already stays as it is.

        Args:
            experiment: its content; ``digest`` tells it apart from all others.
            arms: content of each arm, in order.
            uses: which row of which measurement each arm has: ``arm``, ``key``, ``position``, ``part``, ``metric``.
        """
        entry = (dict(experiment), [dict(arm) for arm in arms], [dict(use) for use in uses])
        self._write(lambda connection: _register(connection, *entry))
        if entry not in self._registered:
            self._registered.append(entry)

    def keep(
        self, key: str, measurement: Row, rows: Sequence[Row], maps: Mapping[str, bytes] | None = None
    ) -> list[Row]:
        """Write the rows of a measurement unless it is there, and return those that are there: the first writer's.

        Args:
            key: what makes two measurements the same.
            measurement: how it was made: ``metric``, ``commit`` and the like.
            rows: one per network, in order.
            maps: content of the maps that the rows name.
        """

        def write(connection: sqlite3.Connection) -> list[Row]:
            stored = _rows(connection, key)
            if stored is not None:
                return stored
            head = (key, str(measurement["metric"]), _text(measurement))
            connection.execute("INSERT INTO measurements VALUES (?, ?, ?)", head)
            lines = [(key, position, _text(row)) for position, row in enumerate(rows)]
            connection.executemany("INSERT INTO rows VALUES (?, ?, ?)", lines)
            connection.executemany("INSERT OR REPLACE INTO maps VALUES (?, ?)", (maps or {}).items())
            return [json.loads(text) for *_, text in lines]

        return self._write(write)

    def find(self, key: str) -> list[Row] | None:
        """Return the rows of a measurement in order, or ``None`` if it is not there."""
        return self._read(lambda connection: _rows(connection, key))

    def keys(self) -> set[str]:
        """Return the keys of all measurements."""
        return self._read(lambda connection: {key for (key,) in connection.execute("SELECT key FROM measurements")})

    def all_rows(self) -> dict[str, list[Row]]:
        """Return the rows of every measurement by key."""

        def read(connection: sqlite3.Connection) -> dict[str, list[Row]]:
            by_key: dict[str, list[Row]] = {}
            for key, text in connection.execute("SELECT key, content FROM rows ORDER BY key, position"):
                by_key.setdefault(key, []).append(json.loads(text))
            return by_key

        return self._read(read)

    def measurements(self) -> dict[str, Row]:
        """Return how each measurement was made, by key."""
        query = "SELECT key, content FROM measurements ORDER BY rowid"
        return self._read(lambda connection: {key: json.loads(text) for key, text in connection.execute(query)})

    def experiments(self) -> list[tuple[Row, list[Row], list[Row]]]:
        """Return every experiment in the order in which they were registered, with its arms and its uses."""

        def read(connection: sqlite3.Connection) -> list[tuple[Row, list[Row], list[Row]]]:
            records: dict[int, tuple[Row, list[Row], list[Row]]] = {}
            connection.execute("BEGIN")  # one state of the file
            with committed(connection):
                for number, text in connection.execute("SELECT id, content FROM experiments ORDER BY id"):
                    records[number] = (json.loads(text), [], [])
                in_order = "JOIN experiments ON experiments.id = experiment ORDER BY"
                for number, text in connection.execute(
                    f"SELECT experiment, arms.content FROM arms {in_order} position"
                ):
                    records[number][1].append(json.loads(text))
                uses = f"SELECT experiment, {', '.join(_USE)} FROM uses {in_order} uses.rowid"
                for number, *values in connection.execute(uses):
                    records[number][2].append(dict(zip(_USE, values, strict=True)))
            return list(records.values())

        return self._read(read)

    def forget(self, keys: Iterable[str]) -> None:
        """Remove measurements, so that they are made again; experiments go on asking for them."""
        names = [(key,) for key in keys]
        if names:
            self._write(lambda connection: connection.executemany("DELETE FROM measurements WHERE key = ?", names))

    def map(self, name: str) -> bytes | None:
        """Return the content of a map, or ``None`` if there is none of this name."""
        query = "SELECT content FROM maps WHERE name = ?"
        row = self._read(lambda connection: connection.execute(query, (name,)).fetchone())
        return None if row is None else bytes(row[0])

    def close(self) -> None:
        """Close the file; the next call opens it again. A store in memory is lost."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __del__(self) -> None:
        self.close()

    def _read(self, action: Callable[[sqlite3.Connection], _T]) -> _T:
        with self._refused("read"):
            if self.path is not None and not self.path.exists():
                self.close()
                with contextlib.closing(prepared(sqlite3.connect(":memory:"), "an empty store")) as empty:
                    return action(empty)
            return self._patiently(lambda: action(self._opened(write=False)))

    def _write(self, action: Callable[[sqlite3.Connection], _T]) -> _T:
        with self._refused("write"):
            while True:
                connection = self._opened(write=True)
                self._patiently(partial(connection.execute, "BEGIN IMMEDIATE"))
                with committed(connection):
                    result = action(connection)
                if self.path is None or _identity(self.path) == self._file:
                    return result

    def _opened(self, *, write: bool) -> sqlite3.Connection:
        """Return a connection to the file that is there now."""
        if self.path is None:
            if self._connection is None:
                connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
                self._connection = prepared(connection, "memory")
            return self._connection
        if self._connection is not None and _identity(self.path) == self._file:
            return self._connection
        self.close()
        self._require_plain(self.path)
        if write:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=_NOTICE_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            self._patiently(lambda: prepared(connection, str(self.path)))
        except BaseException:
            connection.close()
            raise
        self._connection, self._file = connection, _identity(self.path)
        if self._registered and write:
            connection.execute("BEGIN IMMEDIATE")
            with committed(connection):
                for entry in self._registered:
                    _register(connection, *entry)
        return connection

    def _patiently(self, action: Callable[[], _T]) -> _T:
        """Return the result of an action once no other process holds the lock; after a while, name the lock."""
        started, noticed = time.monotonic(), False
        while True:
            try:
                return action()
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) and "busy" not in str(error):
                    raise
                if time.monotonic() - started > _LONGEST_WAIT:
                    raise
                if not noticed and time.monotonic() - started >= _NOTICE_SECONDS / 2:
                    print(f"scsc-lab: waiting for another process that holds {self.path}", file=sys.stderr)
                    noticed = True

    @contextlib.contextmanager
    def _refused(self, verb: str) -> Iterator[None]:
        """Turn what SQLite or the system says into an InputError of one line."""
        try:
            yield
        except sqlite3.Error as error:
            raise InputError(f"cannot {verb} {self.path or 'the store'}: {_reason(error)}") from None
        except OSError as error:
            raise InputError(f"cannot {verb} {self.path}: {error.strerror or error}") from None
        except json.JSONDecodeError:
            raise InputError(f"cannot {verb} {self.path}: one of its records is no JSON") from None

    @staticmethod
    def _require_plain(path: Path) -> None:
        """Raise InputError for a folder, a device or a pipe."""
        if path.exists() and not path.is_file():
            kind = "folder" if path.is_dir() else "device or pipe"
            raise InputError(f"cannot keep rows in {path}: it is a {kind}; name a file")


def _register(connection: sqlite3.Connection, experiment: Row, arms: Sequence[Row], uses: Sequence[Row]) -> None:
    head = (str(experiment["digest"]), _text(experiment))
    inserted = connection.execute("INSERT OR IGNORE INTO experiments (digest, content) VALUES (?, ?)", head)
    if not inserted.rowcount:
        return
    number = inserted.lastrowid
    lines = [(number, position, _text(arm)) for position, arm in enumerate(arms)]
    connection.executemany("INSERT INTO arms VALUES (?, ?, ?)", lines)
    places = [(number, *(use[column] for column in _USE)) for use in uses]
    connection.executemany("INSERT OR IGNORE INTO uses VALUES (?, ?, ?, ?, ?, ?)", places)


def _rows(connection: sqlite3.Connection, key: str) -> list[Row] | None:
    """Return the rows of a measurement, or ``None``; they are written together, so all are there or none."""
    query = "SELECT content FROM rows WHERE key = ? ORDER BY position"
    rows = [json.loads(text) for (text,) in connection.execute(query, (key,))]
    return rows or None


def _text(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=True, allow_nan=False)


def _identity(path: Path) -> tuple[int, int] | None:
    """Return which file a path names, or ``None`` if there is none."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


_REASONS = {
    "not a database": "it is not a store: neither an SQLite file nor rows in JSON lines",
    "readonly": "it is read-only",
    "full": "the disk is full",
    "locked": "another process has held it for ten minutes",
}
"""What to say for a part of SQLite's message."""


def _reason(error: sqlite3.Error) -> str:
    return next((reason for part, reason in _REASONS.items() if part in str(error)), str(error))
