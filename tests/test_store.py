"""Rows that are kept as they are measured: a kill costs at most the row being written."""

from __future__ import annotations

import json
import os
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scsc_lab import InputError
from scsc_lab.store import RowStore, as_lines, write

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


@pytest.mark.parametrize("content", ["{}\nnonsense\n{}\n", "[1, 2]\n", "\x00\n", "text", "{}\n[1]"])
def test_what_is_no_store_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "rows.jsonl"
    path.write_text(content)
    with pytest.raises(InputError, match=r"is no store of rows: line \d is not a JSON object"):
        RowStore(path)
    assert path.read_text() == content


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


def test_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        RowStore(tmp_path)


def test_the_same_rows_give_the_same_lines():
    assert as_lines(ROWS) == as_lines([dict(reversed(row.items())) for row in ROWS])
    assert [json.loads(line) for line in as_lines(ROWS).splitlines()] == ROWS
