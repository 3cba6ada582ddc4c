"""The store: what is written is there whole, once, whoever writes and is killed; what is no store is refused."""

from __future__ import annotations

import contextlib
import gc
import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from scsc_lab import InputError, rowfile
from scsc_lab.files import VERSION, prepared
from scsc_lab.store import Store

EXPERIMENT = {"digest": "d", "kind": "comparison", "columns": ["macs"], "metrics": ["size"], "settings": {}}
EXPERIMENT |= {"batch": 1, "details": {}, "run": {"command": ""}}
ARM = {"label": "a", "network": "a", "resolution": [8, 8], "baseline": None, "study": ""}
ARM |= {"variant": "", "values": {}, "settings": {}, "seed_shift": 0, "metrics": []}
USE = {"arm": 0, "key": "k", "position": 0, "part": 0, "metric": "size"}


def filled(store: Store) -> Store:
    store.register(EXPERIMENT, [ARM], [USE])
    store.keep("k", {"metric": "size"}, [{"macs": 1, "name": "ä\n|", "map_file": "m.npz"}], {"m.npz": b"\0\1"})
    return store


@pytest.mark.parametrize("name", [None, "new/rows.db"])
def test_what_is_written_comes_back(name, tmp_path):
    path = None if name is None else tmp_path / name
    store = Store(path)
    assert path is None or not path.exists()  # opening creates nothing
    assert (store.experiments(), store.keys(), store.find("k"), store.map("m.npz")) == ([], set(), None, None)
    filled(store)
    for reader in [store] if path is None else [store, Store(path)]:
        assert reader.experiments() == [(EXPERIMENT, [ARM], [USE])]
        assert reader.find("k") == [{"macs": 1, "name": "ä\n|", "map_file": "m.npz"}]
        assert reader.measurements() == {"k": {"metric": "size"}}
        assert (reader.keys(), reader.map("m.npz")) == ({"k"}, b"\0\1")


def test_the_first_writer_of_a_key_counts(tmp_path):
    first, second = Store(tmp_path / "rows.db"), Store(tmp_path / "rows.db")
    assert first.keep("k", {"metric": "size"}, [{"macs": 1}]) == [{"macs": 1}]
    assert second.keep("k", {"metric": "size"}, [{"macs": 2}, {"macs": 3}]) == [{"macs": 1}]
    filled(first), filled(second)
    assert len(second.experiments()) == 1
    second.forget(["k"])
    assert first.find("k") is None
    assert len(first.experiments()) == 1


def test_a_number_that_is_none_is_not_kept(tmp_path):
    store = Store(tmp_path / "rows.db")
    with pytest.raises(ValueError, match="JSON"):
        store.keep("k", {"metric": "size"}, [{"macs": 1}, {"macs": float("nan")}])
    assert store.keys() == set()


@pytest.mark.parametrize("change", ["deleted", "replaced", "moved"])
def test_a_store_that_is_taken_away_while_it_is_written_goes_on_in_its_place(change, tmp_path):
    path = tmp_path / "rows.db"
    store = filled(Store(path))
    if change == "deleted":
        path.unlink()
    elif change == "moved":
        path.rename(tmp_path / "elsewhere.db")
    else:
        Store(tmp_path / "other.db").keep("o", {"metric": "size"}, [{"macs": 9}])
        (tmp_path / "other.db").replace(path)
    store.keep("new", {"metric": "size"}, [{"macs": 2}])
    fresh = Store(path)
    assert fresh.find("new") == [{"macs": 2}]
    assert fresh.experiments() == [(EXPERIMENT, [ARM], [USE])]  # whose rows are measured again, if they are gone
    assert (fresh.find("o") is not None) == (change == "replaced")


FOREIGN = ["nonsense" * 100, '{"key": "a"}\n', "SQLite format 3\0" + "x" * 100]


@pytest.mark.parametrize("content", FOREIGN)
def test_what_is_no_store_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "rows.db"
    path.write_text(content)
    with pytest.raises(InputError, match=r"cannot read .*rows\.db: it is not a store"):
        Store(path)
    assert path.read_text() == content


def test_another_programs_database_and_a_newer_one_are_refused(tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.execute("CREATE TABLE songs (name TEXT)")
    with pytest.raises(InputError, match="is an SQLite file of another program: name another file"):
        Store(tmp_path / "other.db")
    filled(Store(tmp_path / "newer.db"))
    with contextlib.closing(sqlite3.connect(tmp_path / "newer.db")) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(InputError, match=r"was written by a newer scsc-lab \(schema 2; this one reads 1\)"):
        Store(tmp_path / "newer.db")


def test_only_files_can_be_stores(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, kind in ((tmp_path, "folder"), (tmp_path / "pipe", "device or pipe"), (Path("/dev/full"), "device")):
        with pytest.raises(InputError, match=f"it is a {kind}.*; name a file"):
            Store(path)


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path):
    store = filled(Store(tmp_path / "rows.db"))
    connection = store._opened(write=True)
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(InputError, match=r"^cannot write .*rows\.db: the disk is full$"):
        store.keep("large", {"metric": "size"}, [{"text": "x" * 100_000}])
    assert Store(tmp_path / "rows.db").keys() == {"k"}


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="has no users")
def test_a_store_that_is_read_only_is_read(tmp_path):
    filled(Store(tmp_path / "rows.db"))
    (tmp_path / "rows.db").chmod(0o444)
    tmp_path.chmod(0o555)
    child = """
import os, sys
from pathlib import Path
from scsc_lab.store import Store
from scsc_lab.errors import InputError
if os.geteuid() == 0:
    os.setuid(65534)
store = Store(Path(sys.argv[1]))
print(store.keys())
try:
    store.keep("new", {"metric": "size"}, [{}])
except InputError as error:
    print(error)
"""
    for parent in tmp_path.parents:
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o111)
    done = subprocess.run([sys.executable, "-c", child, str(tmp_path / "rows.db")], capture_output=True, text=True)
    tmp_path.chmod(0o755)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{{'k'}}\ncannot write {tmp_path / 'rows.db'}: it is read-only\n"


def test_a_lock_is_waited_for_and_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("scsc_lab.store._NOTICE_SECONDS", 0.05)
    path = tmp_path / "rows.db"
    filled(Store(path))
    holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN EXCLUSIVE")
    timer = threading.Timer(0.5, lambda: holder.execute("COMMIT"))
    timer.start()
    Store(path).keep("late", {"metric": "size"}, [{"macs": 3}])
    timer.join()
    holder.close()
    assert Store(path).find("late") == [{"macs": 3}]
    assert capsys.readouterr().err == f"scsc-lab: waiting for another process that holds {path}\n"


@pytest.mark.parametrize("writers", [2, 4])
def test_writers_that_are_killed_leave_every_row_once(tmp_path, writers):
    """Writers share the same keys; half are killed; one more ends it."""
    keys, script = 25, Path(__file__).with_name("writers.py")
    chosen = random.Random(writers)

    def start(path, first):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.Popen([sys.executable, "-S", script, path, str(first), str(keys)], env=environment)

    for trial in range(8):
        path = tmp_path / f"{trial}.db"
        running = [start(path, chosen.randrange(keys)) for _ in range(writers)]
        time.sleep(chosen.random() * 0.2)
        for writer in running[::2]:
            writer.kill()
        for writer in running:
            assert writer.wait(60) in (0, -9)
        assert start(path, 0).wait(60) == 0
        rows = Store(path).all_rows()
        assert {int(key): len(own) for key, own in rows.items()} == {key: 1 + key % 3 for key in range(keys)}
        assert all(len({row["writer"] for row in own}) == 1 for own in rows.values())  # of one key, of one process


def test_tables_that_another_process_creates_meanwhile_are_ours(tmp_path):
    path, others = tmp_path / "rows.db", []

    class Slow(sqlite3.Connection):
        """A connection that lets another process create the tables between two of its reads."""

        def execute(self, statement, *parameters):
            if statement == "PRAGMA user_version" and not others:
                others.append(sqlite3.connect(path, timeout=0, isolation_level=None))
                with contextlib.suppress(sqlite3.OperationalError):  # locked, as it should be
                    prepared(others[0], "the other")
            return super().execute(statement, *parameters)

    connection = sqlite3.connect(path, timeout=0, isolation_level=None, factory=Slow)
    assert prepared(connection, "this") is connection
    for opened in (connection, *others):
        opened.close()
    assert Store(path).keys() == set()


def test_a_store_that_is_no_longer_used_closes_its_file(tmp_path):
    for path in (None, tmp_path / "rows.db"):
        connection = filled(Store(path))._connection
        gc.collect()
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")


def test_a_text_may_hold_any_line_break(tmp_path):
    store = Store()
    store.keep("key", {"metric": "size"}, [{"model": "a\u2028b\x85c\x0cd\x1ee"}])
    (tmp_path / "rows.jsonl").write_text(rowfile.lines(store), newline="")
    assert rowfile.opened(tmp_path / "rows.jsonl").find("key") == store.find("key")


def test_json_lines_hold_all_of_a_store(tmp_path):
    store = filled(Store(tmp_path / "rows.db"))
    text = rowfile.lines(store)
    (tmp_path / "rows.jsonl").write_text(text)
    (tmp_path / "fields").mkdir()
    (tmp_path / "fields" / "m.npz").write_bytes(b"\0\1")
    for path in (tmp_path / "rows.jsonl", tmp_path / "rows.db"):
        opened = rowfile.opened(path)
        assert rowfile.lines(opened) == text
        assert opened.map("m.npz") == b"\0\1"
    (tmp_path / "rows.jsonl").write_text(text.replace("\n", "\n\r\n \n", 1) + "\0\0")
    assert rowfile.lines(rowfile.opened(tmp_path / "rows.jsonl")) == text
    target = Store()
    rowfile.absorb(target, store, {})
    rowfile.absorb(target, store, {})
    assert rowfile.lines(target) == text


def test_records_with_a_key_of_another_type_are_refused_by_name_or_by_the_schema_of_rows(tmp_path):
    text = rowfile.lines(filled(Store()))
    path = tmp_path / "rows.jsonl"
    path.write_text(text.replace('"settings": {}, "seed_shift"', '"settings": [], "seed_shift"'))
    with pytest.raises(InputError, match=r"line 3 has \[\] as its settings"):
        rowfile.opened(path)
    for details, message in (('{"missing": 3}', "3 as its missing"), ('{"probe": [1]}', r"\[1\] as its probe")):
        path.write_text(text.replace('"details": {}', f'"details": {details}'))
        with pytest.raises(InputError, match=f"line 2 has {message}"):
            rowfile.opened(path)
    path.write_text(text.replace('"macs": 1', '"macs": 1, "stages": 5'))
    assert rowfile.opened(path).find("k")[0]["stages"] == 5


LINES = {
    "no": "line 2 is not a record: one of store, experiment, arm",
    "[1]": "line 2 is not a record",
    '{"record": []}': "line 2 is not a record",
    '{"record": "row", "key": "k", "position": 0}': "line 2 is a row without its measurement",
    '{"record": "arm", "experiment": 3, "arm": 0}': "line 2 belongs to experiment 3, which is missing",
    '{"record": "experiment", "experiment": "x"}': "line 2 has 'x' as its experiment",
    '{"record": "experiment", "experiment": 0}': "line 2 has no digest",
    '{"record": "measurement", "key": "k", "metric": NaN}': "line 2 is not a record",
}


@pytest.mark.parametrize("line", LINES)
def test_a_line_that_is_no_record_is_named(line, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"record": "store", "schema": 1}}\n{line}\n')
    with pytest.raises(InputError) as caught:
        rowfile.opened(path)
    assert f"{path}, {LINES[line]}" in str(caught.value)


def described(heading: str) -> set[str]:
    """Return the names in the first column of a section of docs/rows.md."""
    text = (Path(__file__).parents[1] / "docs" / "rows.md").read_text()
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return {name.strip(" `") for cell in cells for name in cell.split(",")}


def test_the_document_describes_every_table_and_key():
    from scsc_lab import metrics
    from scsc_lab.experiments import compare
    from scsc_lab.networks.network import Network

    experiment = compare.experiment([Network.read("resnet18")], ["macs"])
    store = Store()
    connection = store._opened(write=True)
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert described("Tables of the store") == tables
    assert described("Experiments") == experiment.row().keys() - {"digest"}
    assert described("Arms") == experiment.arms[0].row().keys() | {"inputs"}  # those of other inputs than an image
    made_of = {metric.name for metric in metrics.registry().values() if metric.parts is not None}
    assert described("Rows") == metrics.registry().keys() - made_of
