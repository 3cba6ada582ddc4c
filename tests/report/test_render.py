"""Numbers as text, tables as files: exact, whole, and not to be broken by a name."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scsc_lab import InputError, store, units
from scsc_lab.provenance import run_info
from scsc_lab.records import change, with_changes
from scsc_lab.report import render as formats
from scsc_lab.report import tables
from scsc_lab.report.tables import Column, Table

RUN = run_info(arguments=["flops", "a b"])
EVIL = "a|b<c>`d`*e*[f](g)\nh_i_j _k_ \\ &"


def table(*names: str) -> Table:
    rows = tuple(
        {"model": name, "resolution": [224, 320], "macs": 4089184256, "none": None, "nested": {"x": 1}}
        for name in names
    )
    return Table((tables.MODEL, tables.INPUT, tables.MACS), rows, "Title", ("A note.",))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (units.mega(25_557_032), "25.56"),
        (units.giga(4_089_184_256), "4.089"),
        (units.giga(318_953_472), "0.3190"),
        (units.giga(1_430_016), "0.001430"),
        (units.giga(0), "0"),
        (units.giga(123_456_000_000), "123.5"),
        (units.giga(1_234_560_000_000), "1235"),
        (units.giga(None), ""),
        (units.mega(9_999_960), "10.000"),
        (units.percent(-0.2243), "−22.4%"),
        (units.percent(0.0004), "+0.04%"),
        (units.percent(0.0), "0.0%"),
        (units.percent(None), ""),
        (units.share(0.0004), "0.04%"),
        (units.share(1.0), "100.0%"),
        (units.integer(4089184256), "4,089,184,256"),
        (units.size([224, 320]), "224×320"),
    ],
)
def test_units(text, expected):
    assert text == expected


@given(st.floats(1e-9, 1e9))
def test_four_significant_digits_are_right(value):
    assert float(units.significant(value)) == pytest.approx(value, rel=5.1e-4)


def test_changes():
    assert change(3, 4) == -0.25
    assert change(3, 0) is None
    assert change(None, 4) is None
    rows = with_changes([{"macs": 4}, {"macs": 3}, {"macs": 4}], ["macs"], baseline=2)
    assert [row["macs_change"] for row in rows] == [0.0, -0.25, None]


def test_json_has_schema_run_and_raw_numbers():
    document = json.loads(formats.to_json(table("resnet50"), RUN))
    assert document["schema"] == 1
    assert document["rows"][0]["macs"] == 4089184256
    run = document["run"]
    assert run["command"] == "scsc-lab flops 'a b'"
    assert run["torch"] == run["versions"]["torch"]
    assert {"device", "time", "seed", "machine", "commit"} <= set(run)


def test_csv_has_raw_numbers():
    row = next(csv.DictReader(io.StringIO(formats.to_csv(table("a,b"), RUN))))
    assert row["model"] == "a,b"
    assert row["macs"] == "4089184256"
    assert row["resolution"] == "224x320"
    assert row["none"] == ""
    assert json.loads(row["nested"]) == {"x": 1}


def test_latex_carries_raw_numbers_in_comments():
    text = formats.to_latex(table("a_b & c"), RUN)
    assert r"a\_b \& c" in text
    assert r"224$\times$320" in text
    assert '"macs": 4089184256' in text
    assert r"\toprule" in text


def test_markdown_is_one_table_whatever_the_name():
    lines = formats.to_markdown(table("resnet50", EVIL), RUN).splitlines()
    grid = [line for line in lines if line.startswith("|")]
    assert len(grid) == 4
    assert {line.replace(r"\|", "").count("|") for line in grid} == {4}
    assert "<c>" not in grid[3]
    assert r"\`d\`" in grid[3]


@given(st.text(max_size=30))
def test_markdown_cells_stay_cells(name):
    grid = [line for line in formats.to_markdown(table(name), RUN).split("\n") if line.startswith("|")]
    assert len(grid) == 3
    assert len({line.replace("\\\\", "").replace(r"\|", "").count("|") for line in grid}) == 1


def test_terminal_table_is_plain_when_piped(capsys):
    formats.emit(table("resnet50"), RUN)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "4.089" in out
    assert "A note." in out


def test_an_empty_table_can_be_written_in_every_format():
    empty = Table((tables.MODEL, Column("x", "x")), ())
    for write in formats.FORMATS.values():
        assert write(empty, RUN)


@pytest.mark.parametrize(("suffix", "start"), [(".md", "**Title**"), (".csv", "model"), (".json", "{"), (".tex", "\\")])
def test_the_suffix_chooses_the_format(tmp_path, suffix, start):
    path = tmp_path / "new" / "folder" / f"table{suffix}"
    formats.emit(table("resnet50"), RUN, output=path)
    assert path.read_text().startswith(start)
    assert list(path.parent.iterdir()) == [path]


def test_unknown_formats_are_mistakes(tmp_path):
    with pytest.raises(InputError, match="unknown format 'xml': one of table, markdown"):
        formats.choose("xml", None)
    with pytest.raises(InputError, match="cannot tell a format"):
        formats.choose(None, tmp_path / "table.docx")


def test_files_are_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    store.write(path, "old")
    store.write(path, "new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~store._umask()

    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(InputError, match=r"cannot write .*: No space left on device"):
        store.write(path, "newer")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["", "file.txt/below", "nul\0name"])
def test_places_where_nothing_can_be_written(tmp_path, name):
    (tmp_path / "file.txt").write_text("a file")
    with pytest.raises(InputError, match="cannot write"):
        store.write(tmp_path / name, "text")


def test_a_table_whose_file_cannot_be_written_is_printed(capsys):
    with pytest.raises(InputError, match=r"^cannot write /dev/full: "):
        formats.emit(table("resnet50"), RUN, "csv", Path("/dev/full"))
    assert "resnet50" in capsys.readouterr().out
