"""The SQLite file of a store: its tables, their version, and transactions."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

from scsc_lab.errors import InputError

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
