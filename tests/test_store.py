"""Rows that are kept as they are measured: a kill costs at most the row being written."""

from __future__ import annotations

import json
import os
import random
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scsc_lab import InputError
from scsc_lab.store import RowStore, as_lines, check_writable, write

ROWS = [{"key": "a", "macs": 1, "name": "ä\n|"}, {"key": "b", "macs": None}, {"key": "c", "nested": {"x": [1]}}]


def filled(path):
    store = RowStore(path)
    for row in ROWS:
        store.append(row)
    return path


def test_rows_come_back(tmp_path):
    path = filled(tmp_path / "new" / "rows.jsonl")
    store = RowStore(path)
    assert store.rows == ROWS
    assert not store.repaired
    assert RowStore(tmp_path / "none.jsonl").rows == []
    assert not (tmp_path / "none.jsonl").exists()


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_a_torn_last_line_is_cut_off_and_nothing_else(tmp_path_factory, data):
    path = filled(tmp_path_factory.mktemp("store") / "rows.jsonl")
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    ended = whole[cut : cut + 1] == b"\n"  # only the newline is missing: the row is whole
    complete = whole[: cut + ended].count(b"\n")
    store = RowStore(path)
    assert path.read_bytes() == whole[:cut]  # opening changes nothing
    assert store.rows == ROWS[:complete]
    assert store.repaired == (cut > 0 and whole[:cut][-1:] != b"\n" and not ended)
    store.append({"key": "d"})
    store.append({"key": "e"})
    assert RowStore(path).rows == [*ROWS[:complete], {"key": "d"}, {"key": "e"}]


def test_a_file_of_one_line_without_a_newline_is_kept(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}')
    store = RowStore(path)
    assert (store.rows, store.repaired, path.read_text()) == ([{"a": 1}], False, '{"a": 1}')
    store.append({"b": 2})
    assert path.read_text() == '{"a": 1}\n{"b": 2}\n'


FOREIGN = [
    *("{}\nnonsense\n{}\n", "[1, 2]\n", "\x00\n", "text", "{}\n[1]", "{my notes", '{"name": "package", "', "{\n}\n"),
    *('{"key": 3}\n', '{"key": ["x"]}\n', '{"key": "a", "macs": NaN}\n', '{"a": ' + "[" * 200_000 + "\n", "\udcff\n"),
    *('{"key": "a"}\n{"key": "b"}tail\n', '{"level": 1}\n{"level'),
]


@pytest.mark.parametrize("content", FOREIGN, ids=range(len(FOREIGN)))
def test_what_is_no_store_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match=r"is no store of rows: line \d is not a JSON object") as caught:
        RowStore(path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == content.encode(errors="surrogateescape")


def test_rows_that_an_older_version_has_torn_are_mended(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"study": "groups", "key": "a"}\n{"study": "gro')
    store = RowStore(path)
    assert store.repaired
    store.append({"key": "b"})
    assert path.read_text() == '{"study": "groups", "key": "a"}\n{"key": "b"}\n'


@pytest.mark.parametrize("kept", [1, 2])
@pytest.mark.parametrize("torn", ["", '{"key": "b", "of": 3, "posi'])
def test_rows_that_belong_together_are_there_together(tmp_path, kept, torn):
    path = tmp_path / "rows.jsonl"
    rows = [{"key": "b", "of": 3, "position": position} for position in range(3)]
    written = ['{"key": "a", "of": 1}', *map(json.dumps, rows[:kept])]
    path.write_text("\n".join(written) + "\n" + torn)
    store = RowStore(path)
    assert store.keep(rows) == rows
    assert store.keep(rows) == rows
    store.append({"key": "c"})
    assert RowStore(path).rows == store.rows == [{"key": "a", "of": 1}, *rows, {"key": "c"}]


def test_a_process_sees_what_another_has_added_and_adds_it_not_again(tmp_path):
    path = tmp_path / "rows.jsonl"
    first, second = RowStore(path), RowStore(path)
    first.append({"key": "a", "macs": 1})
    second.refresh()
    assert second.rows == [{"key": "a", "macs": 1}]
    first.append({"key": "b", "macs": 2})
    assert second.keep([{"key": "b", "macs": 3}]) == [{"key": "b", "macs": 2}]
    assert second.keep([{"macs": 4, "key": "c"}]) == [{"key": "c", "macs": 4}]
    first.refresh()
    assert first.rows == second.rows == RowStore(path).rows
    path.unlink()
    first.append({"key": "d"})
    assert first.rows == RowStore(path).rows == [{"key": "d"}]


def test_rows_that_are_cut_off_and_written_over_are_read_again(tmp_path):
    """A group that its writer left unfinished is cut off by the next writer, whatever another has read of it."""
    path = tmp_path / "a.jsonl"
    whole, unfinished = {"key": "a", "of": 1}, {"key": "b", "of": 2, "text": "x"}
    path.write_text(f"{json.dumps(whole)}\n{json.dumps(unfinished)}\n")
    reader = RowStore(path)
    assert len(reader.rows) == 2
    longer = {"key": "c", "of": 1, "text": "y" * 100}
    RowStore(path).keep([longer])
    reader.refresh()
    assert reader.rows == [whole, longer]
    assert not reader.find("b")
    reader.keep([{"key": "b", "of": 1}])
    assert [row["key"] for row in RowStore(path).rows] == ["a", "c", "b"]


@pytest.mark.parametrize("writers", [2, 4])
def test_writers_that_are_killed_leave_every_row_once(tmp_path, writers):
    """Writers share out the same rows; half are killed, or tear a row; one more ends it."""
    rows, script = 25, Path(__file__).with_name("writers.py")
    rolled = random.Random(writers)

    def start(path, first):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.Popen([sys.executable, "-S", script, path, str(first), str(rows)], env=environment)

    for trial in range(25):
        path = tmp_path / f"{trial}.jsonl"
        running = [start(path, rolled.randrange(rows)) for _ in range(writers)]
        time.sleep(rolled.random() * 0.2)
        for writer in running[::2]:
            writer.kill()
        for writer in running:
            assert writer.wait(60) in (0, -9)
        while (code := start(path, 0).wait(60)) == -9:
            pass  # it has torn a row of its own
        assert code == 0
        found = [json.loads(line) for line in path.read_text().splitlines()]
        kept = sorted((int(row["key"]), row["position"]) for row in found)
        assert kept == [(key, position) for key in range(rows) for position in range(1 + key % 3)]
        assert len({(row["key"], row["writer"]) for row in found}) == rows  # rows of one key are one process's


def test_links_pipes_and_devices_stay_what_they_are(tmp_path):
    target, link, pipe = tmp_path / "target.csv", tmp_path / "link.csv", tmp_path / "pipe.csv"
    target.write_text("old")
    link.symlink_to(target)
    write(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    read: list[str] = []
    reader.start()
    write(pipe, "through")
    reader.join(10)
    assert read == ["through"]
    assert pipe.is_fifo()


def test_only_files_can_be_stores(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, what in ((tmp_path, "folder"), (tmp_path / "pipe", "device or pipe"), (Path("/dev/full"), "device")):
        with pytest.raises(InputError, match=f"it is a {what}.*; name a file"):
            RowStore(path)


def test_a_file_keeps_its_mode(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("old")
    path.chmod(0o640)
    write(path, "new")
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("new", 0o640)
    assert [one.name for one in tmp_path.iterdir()] == ["rows.csv"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "it is a folder; name a file"),
        ("file.csv/x.csv", "Not a directory"),
        ("/proc/nowhere/x.csv", "No such file or directory"),
        ("n" * 300, "File name too long"),
        ("/dev/fd/999", "Bad file descriptor"),
        ("a\0b", "embedded null"),
    ],
)
def test_what_cannot_be_written_is_known_before(tmp_path, name, reason):
    (tmp_path / "file.csv").write_text("")
    for attempt in (check_writable, lambda path: write(path, "text")):
        with pytest.raises(InputError, match=f"^cannot write .*{reason}"):
            attempt(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="has no users")
def test_permission_is_asked_before(tmp_path):
    folder, file = tmp_path / "folder", tmp_path / "file.csv"
    folder.mkdir()
    file.write_text("")
    file.chmod(0o444)
    folder.chmod(0o555)
    child = f"""
import os, sys
from pathlib import Path
from scsc_lab.errors import InputError
from scsc_lab.store import check_writable
if os.geteuid() == 0:
    os.setuid(65534)
for path in {[str(folder / "new.csv"), str(folder / "deeper" / "new.csv"), str(file)]}:
    try:
        check_writable(Path(path))
    except InputError as error:
        print(error)
"""
    for parent in tmp_path.parents:
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o111)
    tmp_path.chmod(0o755)
    result = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert len(result.stdout.splitlines()) == 3


def test_asking_leaves_nothing_behind(tmp_path):
    check_writable(tmp_path / "deep" / "er" / "x.csv")
    check_writable(tmp_path / "x.csv")
    assert list(tmp_path.iterdir()) == []


def test_standard_output_by_name_is_written_as_it_is(tmp_path):
    child = "from pathlib import Path; from scsc_lab.store import *; p = Path('/dev/stdout'); print('first')\n"
    child += "check_writable(p); write(p, 'second\\n'); print('third')"
    with (tmp_path / "out").open("w") as file:
        subprocess.run([sys.executable, "-c", child], stdout=file, check=True)
    piped = subprocess.run([sys.executable, "-c", child], stdout=subprocess.PIPE, text=True, check=True)
    assert (tmp_path / "out").read_text() == piped.stdout == "first\nsecond\nthird\n"


def test_a_full_device_is_one_line():
    with pytest.raises(InputError, match=r"^cannot write /dev/full: No space left on device$"):
        write(Path("/dev/full"), "text")


def test_the_same_rows_give_the_same_lines():
    assert as_lines(ROWS) == as_lines([dict(reversed(row.items())) for row in ROWS])
    assert [json.loads(line) for line in as_lines(ROWS).splitlines()] == ROWS
