"""Files written whole or not at all, and the SQLite file of a store."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from scsc_lab.errors import InputError

if TYPE_CHECKING:
    import sqlite3

_DESCRIPTOR = re.compile(r"/(?:dev|proc/(?:self|thread-self|\d+))/fd/(\d+)")
_MOST_LINKS = 40
_STDOUT, _STDERR = 1, 2


def check_writable(path: Path) -> None:
    """Raise InputError if a file cannot be written; to be asked before anything is measured.

    Nothing is left behind: neither the file nor its folder is created. That a disk is full is not found out.
    """
    with _refused(path):
        if path.is_dir():
            raise InputError(f"cannot write {path}: it is a folder; name a file")
        if (descriptor := _descriptor(path)) is not None:
            os.fstat(descriptor)
            return
        target = Path(os.path.realpath(path))
        if _exists(target):
            if not os.access(target, os.W_OK):
                raise PermissionError(0, "it is read-only")
            if _in_place(target):
                return
        folder = next(folder for folder in target.parents if _exists(folder))
        with tempfile.TemporaryFile(dir=folder):
            pass


def read_text(path: Path, encoding: str = "utf-8") -> str:
    """Return the text of a file or a pipe.

    Raises:
        InputError: if it cannot be read, is no text, or is a folder or a device, which may never end.
    """
    try:
        if not (path.is_file() or path.is_fifo()) and path.exists():
            raise InputError(f"cannot read {path}: it is a {'folder' if path.is_dir() else 'device'}; name a file")
        return path.read_text(encoding=encoding)
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text") from None
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"cannot read {path}: {_reason(error)}") from None


def read_csv(path: Path, name: str, *, skip_spaces: bool = False) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the columns of a CSV file, and its rows: texts by column, None where a row is too short.

    Args:
        path: the file.
        name: what messages call it.
        skip_spaces: whether spaces after a comma are no part of a text.

    Raises:
        InputError: if it cannot be read, or is no CSV file.
    """
    table = csv.DictReader(io.StringIO(read_text(path, "utf-8-sig")), skipinitialspace=skip_spaces)
    try:
        return list(table.fieldnames or ()), list(table)
    except csv.Error as error:
        raise InputError(f"{name} is not a CSV file: {error}") from None


def write(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all; its folder is created, an existing file replaced by one of the same mode.

    Behind a link it is the file linked to that is replaced; a device, a pipe or a descriptor (``/dev/stdout``) is
    written to as it is.

    Raises:
        InputError: if it cannot be written there.
    """
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    with _refused(path):
        if path.is_dir():
            raise InputError(f"cannot write {path}: it is a folder; name a file")
        if (descriptor := _descriptor(path)) is not None:
            if (stream := results()) is not None and not stream.closed:
                stream.flush()  # what was printed before comes before
            with os.fdopen(os.dup(descriptor), "wb") as file:
                file.write(data)
            return
        target = Path(os.path.realpath(path))
        exists = _exists(target)
        if exists and _in_place(target):
            target.write_bytes(data)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        mode = stat.S_IMODE(target.stat().st_mode) if exists else 0o666 & ~_umask()
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".scsc-lab-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.chmod(temporary, mode)
            os.replace(temporary, target)
        except BaseException:
            os.unlink(temporary)
            raise


@contextlib.contextmanager
def only_results() -> Iterator[None]:
    """Print on standard output only what goes to :func:`results`; what a network's code prints goes to stderr.

    Where standard output is the process's own, that holds for libraries and programs that the code starts, too.
    """
    with contextlib.ExitStack() as stack:
        is_own = _number(sys.stdout) == _STDOUT and _number(sys.stderr) == _STDERR
        _results.append(stack.enter_context(_own_descriptor()) if is_own else sys.stdout)
        stack.callback(_results.pop)
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        yield


@contextlib.contextmanager
def _own_descriptor() -> Iterator[TextIO]:
    """Yield a stream to standard output on a descriptor of its own; meanwhile, descriptor 1 leads to stderr."""
    stdout = sys.stdout
    stdout.flush()
    stream = os.fdopen(os.dup(_STDOUT), "w", encoding=stdout.encoding, errors=stdout.errors)
    os.dup2(_STDERR, _STDOUT)
    try:
        yield stream
    finally:
        os.dup2(stream.fileno(), _STDOUT)
        stream.close()


def _number(stream: TextIO) -> int | None:
    """Return the descriptor of a stream, if it has one."""
    try:
        return stream.fileno()
    except (OSError, ValueError, AttributeError):
        return None


def results() -> TextIO:
    """Return where results are printed."""
    return _results[-1] if _results else sys.stdout


_results: list[TextIO] = []


@contextlib.contextmanager
def _refused(path: Path) -> Iterator[None]:
    """Turn what the system says against writing a file into an InputError of one line."""
    try:
        yield
    except (InputError, BrokenPipeError):
        raise
    except (OSError, ValueError) as error:
        raise InputError(f"cannot write {path}: {_reason(error)}") from None


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _exists(path: Path) -> bool:
    """Return whether there is something; unlike ``Path.exists``, an error of the system stays one."""
    try:
        path.stat()
    except FileNotFoundError:
        return False
    return True


def _in_place(target: Path) -> bool:
    """Return whether an existing file is written to rather than replaced: it is no plain file, or cannot be renamed."""
    return not target.is_file() or os.path.ismount(target) or not os.access(target.parent, os.W_OK)


def _descriptor(path: Path) -> int | None:
    """Return the open descriptor that a path such as ``/dev/stdout`` stands for, if it does."""
    for _ in range(_MOST_LINKS):
        if match := _DESCRIPTOR.fullmatch(os.path.abspath(path)):
            number = int(match[1])
            return _number(results()) or number if number == _STDOUT else number
        if not path.is_symlink():
            return None
        path = path.parent / os.readlink(path)
    return None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


VERSION = 1
"""Version of the tables below; a file of a newer one is refused."""

_APPLICATION = 0x53435343
"""SQLite's application id of a store: ``SCSC`` in ASCII."""

_TABLES = """
CREATE TABLE experiments (
    id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, content TEXT NOT NULL);
CREATE TABLE arms (
    experiment INTEGER NOT NULL REFERENCES experiments(id), position INTEGER NOT NULL, content TEXT NOT NULL,
    PRIMARY KEY (experiment, position));
CREATE TABLE measurements (
    key TEXT PRIMARY KEY, metric TEXT NOT NULL, content TEXT NOT NULL);
CREATE TABLE rows (
    key TEXT NOT NULL REFERENCES measurements(key) ON DELETE CASCADE, position INTEGER NOT NULL, content TEXT NOT NULL,
    PRIMARY KEY (key, position));
CREATE TABLE uses (
    experiment INTEGER NOT NULL REFERENCES experiments(id), arm INTEGER NOT NULL, key TEXT NOT NULL,
    position INTEGER NOT NULL, part INTEGER NOT NULL, metric TEXT NOT NULL,
    PRIMARY KEY (experiment, arm, key, position));
CREATE TABLE maps (name TEXT PRIMARY KEY, content BLOB NOT NULL);
"""


@contextlib.contextmanager
def committed(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit the transaction that has begun, or roll it back."""
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def prepared(connection: sqlite3.Connection, name: str) -> sqlite3.Connection:
    """Return a connection whose file has our tables; those of an empty file are created."""
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("BEGIN")  # one state of the file, although another process may create the tables meanwhile
    with committed(connection):
        is_ready = _is_store(connection, name)
    if is_ready:
        return connection
    connection.execute("BEGIN IMMEDIATE")
    with committed(connection):
        if not _is_store(connection, name):  # another process was not faster
            for statement in filter(str.strip, _TABLES.split(";\n")):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            connection.execute(f"PRAGMA user_version = {VERSION}")
    return connection


def _is_store(connection: sqlite3.Connection, name: str) -> bool:
    """Return whether the tables are there; False for an empty file.

    Raises:
        InputError: if the file is another program's, or of a newer version.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application == _APPLICATION:
        if version > VERSION:
            raise InputError(f"{name} was written by a newer scsc-lab (schema {version}; this one reads {VERSION})")
        return True
    (tables,) = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    if tables or application:
        raise InputError(f"{name} is an SQLite file of another program: name another file")
    return False
