"""The rows of a store as JSON lines, for people and for git; and a store from such a file.

Each line is one record: an ``experiment``, an ``arm`` of it, a ``measurement``, a ``row`` of a measurement, or a
``use`` of a row by an arm. Maps are in the folder ``fields`` next to the file.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NoReturn

from scsc_lab.errors import InputError
from scsc_lab.records import SCHEMA, Row
from scsc_lab.store import Store

MAPS = "fields"
"""Folder beside the file in which the maps of its rows lie."""

_SQLITE = b"SQLite format 3\x00"

_LARGEST = 2**62
"""Numbers beyond are no position of anything; SQLite takes little more."""


def lines(store: Store) -> str:
    """Return everything in a store but its maps as JSON lines; the same content gives the same text."""
    return "".join(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n" for record in _records(store))


def _records(store: Store) -> Iterator[Row]:
    yield {"record": "store", "schema": SCHEMA}
    for number, (experiment, arms, uses) in enumerate(store.experiments()):
        yield {"record": "experiment", "experiment": number, **experiment}
        for position, arm in enumerate(arms):
            yield {"record": "arm", "experiment": number, "arm": position, **arm}
        for use in uses:
            yield {"record": "use", "experiment": number, **use}
    rows = store.all_rows()
    for key, measurement in store.measurements().items():
        yield {"record": "measurement", "key": key, **measurement}
        for position, row in enumerate(rows.get(key, ())):
            yield {"record": "row", "key": key, "position": position, **dict(sorted(row.items()))}


def opened(path: Path) -> Store:
    """Return the store of a file: an SQLite file as it is, JSON lines as a store in memory.

    Raises:
        InputError: if the file is not there, is neither, or a line is not a record.
    """
    if not path.is_file():
        raise InputError(f"no file {str(path)!r}: name a --store, or the rows.jsonl of a report")
    try:
        with path.open("rb") as file:
            is_database = file.read(len(_SQLITE)) == _SQLITE
        text = "" if is_database else path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not a store: neither an SQLite file nor rows in JSON lines") from None
    if not is_database:
        return _from_lines(text, path)
    store = Store(path)
    _from_lines(lines(store), path)  # so that a record which is none is refused whatever file it is in
    return store


def _from_lines(text: str, path: Path) -> Store:
    """Return a store in memory with the records of a file, and the maps next to it."""
    content = _Content(path)
    for number, line in enumerate(text.split("\n"), start=1):  # a text may hold other line breaks, such as U+2028
        if line := line.strip("\x00 \t\r"):
            content.add(line, number)
    return content.store()


_KEYS: dict[str, dict[type, str]] = {
    "store": {},
    "experiment": {str: "digest kind", int: "batch", list: "columns metrics", dict: "settings details run"},
    "arm": {
        int: "arm seed_shift",
        str: "label network study variant",
        list: "resolution metrics",
        dict: "values settings",
    },
    "use": {int: "arm position part", str: "key metric"},
    "measurement": {str: "key metric"},
    "row": {str: "key", int: "position"},
}
"""Keys of each record by the type of their values, besides its experiment; a list has texts, a resolution numbers."""


class _Content:
    """The records of a file while it is read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._line = 0
        self._experiments: dict[int, tuple[Row, list[Row], list[Row]]] = {}
        self._measurements: dict[str, tuple[Row, list[Row]]] = {}

    def add(self, line: str, number: int) -> None:
        """Add the record of a line.

        Raises:
            InputError: if it is none.
        """
        self._line = number
        try:
            record = json.loads(line, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            record = None
        kind = record.pop("record", None) if isinstance(record, dict) else None
        if not isinstance(kind, str) or kind not in _KEYS:
            self._refuse(f"is not a record: one of {', '.join(_KEYS)}")
        if kind == "store" and record.get("schema") != SCHEMA:
            raise InputError(f"{self._path} holds rows of schema {record.get('schema')!r}; this version reads {SCHEMA}")
        if kind in ("experiment", "arm", "use"):
            self._require(record, {int: "experiment"})
            if kind != "experiment" and record["experiment"] not in self._experiments:
                self._refuse(f"belongs to experiment {record['experiment']}, which is missing")
        self._require(record, _KEYS[kind])
        if kind == "experiment":
            self._require({"versions": {}, **record["run"]}, {str: "command", dict: "versions"})
            for name in ("missing", "probe"):  # rows of tables
                if not _is_of(record["details"].get(name, []), list, dict):
                    self._refuse(f"has {record['details'][name]!r:.60} as its {name}")
            self._experiments[record.pop("experiment")] = (record, [], [])
        elif kind == "arm":
            self._add_arm(record, self._experiments[record.pop("experiment")][1])
        elif kind == "use":
            self._experiments[record.pop("experiment")][2].append(record)
        elif kind == "measurement":
            self._measurements[record.pop("key")] = (record, [])
        elif kind == "row":
            self._add_row(record)

    def store(self) -> Store:
        """Return everything that was added as a store in memory."""
        self._check()
        store = Store()
        for key, (measurement, rows) in self._measurements.items():
            store.keep(key, measurement, rows, self._maps(rows))
        for experiment, arms, uses in self._experiments.values():
            store.register(experiment, arms, uses)
        return store

    def _check(self) -> None:
        """Raise InputError if a record names an arm or a row that is not there."""
        for number, (_, arms, uses) in self._experiments.items():
            baselines = [arm["baseline"] for arm in arms if arm["baseline"] is not None]
            if any(at not in range(len(arms)) for at in (*baselines, *(use["arm"] for use in uses))):
                raise InputError(f"{self._path}: experiment {number} names an arm that it does not have")
            for use in uses:
                _, rows = self._measurements.get(use["key"], ({}, []))
                if rows and use["position"] not in range(len(rows)):
                    raise InputError(f"{self._path}: experiment {number} names a row that {use['key']} does not have")

    def _add_arm(self, record: Row, arms: list[Row]) -> None:
        if "baseline" not in record:
            self._refuse("has no baseline")
        number, baseline = record.pop("arm"), record["baseline"]
        if number != len(arms) or not (baseline is None or (type(baseline) is int and baseline >= 0)):
            self._refuse("is no arm in its place")
        arms.append(record)

    def _add_row(self, record: Row) -> None:
        key, position = record.pop("key"), record.pop("position")
        if key not in self._measurements or position != len(self._measurements[key][1]):
            self._refuse("is a row without its measurement, or out of order")
        self._measurements[key][1].append(record)

    def _require(self, record: Row, keys: dict[type, str]) -> None:
        for kind, name in ((kind, name) for kind, names in keys.items() for name in names.split()):
            if not _is_of(record.get(name), kind, int if name == "resolution" else str):
                self._refuse(f"has no {name}" if name not in record else f"has {record[name]!r:.60} as its {name}")

    def _refuse(self, reason: str) -> NoReturn:
        raise InputError(f"{self._path}, line {self._line} {reason}")

    def _maps(self, rows: list[Row]) -> dict[str, bytes]:
        folder = self._path.parent / MAPS
        plain = [name for name in _map_names(rows) if Path(name).name == name]
        return {name: (folder / name).read_bytes() for name in plain if (folder / name).is_file()}


def _is_of(value: object, kind: type, item_kind: type) -> bool:
    """Return whether a value is of a type exactly, and what a list has of another."""
    if isinstance(value, list):
        return kind is list and all(type(item) is item_kind for item in value)
    return type(value) is kind and not (isinstance(value, int) and abs(value) > _LARGEST)


def _refuse_constant(constant: str) -> Any:
    raise ValueError(constant)


def absorb(
    target: Store, source: Store, claim_details: Row | None = None, digests: Collection[str] | None = None
) -> None:
    """Copy the measurements of one store into another, and its experiments.

    Args:
        target: the store that is written to.
        source: the store that is read.
        claim_details: details that experiments on the paper's claims get.
        digests: which experiments are copied, with the measurements that they use; if none, all measurements are.
            Default: all experiments.
    """
    rows = source.all_rows()
    experiments = [record for record in source.experiments() if digests is None or record[0]["digest"] in digests]
    used = {use["key"] for *_, uses in experiments for use in uses}
    for key, measurement in source.measurements().items():
        if not digests or key in used:
            target.keep(key, measurement, rows[key], dict(maps_of(source, rows[key])))
    for experiment, arms, uses in experiments:
        details = (claim_details or {}) if experiment["kind"] == "claims" else {}
        target.register({**experiment, "details": {**experiment["details"], **details}}, arms, uses)


def maps_of(store: Store, rows: list[Row]) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the content of each map that rows name and a store has."""
    for name in _map_names(rows):
        content = store.map(name)
        if content is not None:
            yield name, content


def _map_names(rows: list[Row]) -> list[str]:
    """Return the names of the maps that rows name, those of stages and moments too."""
    lists = [row.get(key) for row in rows for key in ("stages", "moments")]
    inner = [each for values in lists if isinstance(values, list) for each in values]
    return [str(row["map_file"]) for row in (*rows, *inner) if isinstance(row, dict) and "map_file" in row]
