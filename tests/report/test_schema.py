"""Rows of wrong types: one line that names file, row and key, wherever rows enter; committed rows stay readable."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scsc_lab.cli import main
from scsc_lab.report import evidence, schema
from scsc_lab.store import as_lines

RUN = {"table": "run", "schema": 1, "command": "", "machine": {}, "versions": {}}
NETWORK = {"table": "comparison", "model": "a", "baseline": "a", "resolution": [64, 64], "macs": 1, "batch": 1}
TRAINED = {"seed": 0, "status": "complete", "curve": [], "data": "navon", "accuracy": 50.0}
WRONG = [
    *((key, value) for key in ("macs", "params", "ratio", "median_seconds") for value in ("x", [1], {}, 10**400, True)),
    *(("model", value) for value in (["a"], 1, {})),
    *(("resolution", value) for value in ("64", [64], [64, "64"], [0, 64], {})),
    *(("samples_seconds", value) for value in ([None], ["x"], 1.0, {})),
    *(("runs", value) for value in ("x", [1], [{}], [{**TRAINED, "seed": []}], [{**TRAINED, "accuracy": None}])),
    ("runs", [{**TRAINED, "curve": [{"epoch": 1, "loss": "x", "accuracy": {}}]}]),
    ("stages", [{"r50": "x"}]),
    ("left_out", {"r50": 1}),
    ("onnxruntime_median_seconds", "x"),
    ("onnxruntime_verdict", 1),
    ("ratio", -1.0),
    ("r50", "x"),
    ("baseline", None),
]


@pytest.mark.parametrize(("key", "value"), WRONG)
def test_a_row_of_a_wrong_type_is_one_line(key, value, tmp_path, capsys):
    path = tmp_path / "rows.jsonl"
    path.write_text(as_lines([RUN, NETWORK, {**NETWORK, "model": "b", key: value}]))
    for words in (["--from", str(path)], ["--from", str(path), "--against", str(path)]):
        assert main(["report", *words]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert f"{path}, row 3: " in error
        assert key in error or key == "runs"
        assert "python -X dev" not in error
    assert [file.name for file in tmp_path.iterdir()] == ["rows.jsonl"]


def test_the_committed_rows_are_right():
    for path in Path(__file__).parents[2].glob("reports/*/rows.jsonl"):
        schema.check([json.loads(line) for line in path.read_text().splitlines()], str(path))
    assert evidence.read(Path(__file__).parents[2] / "reports" / "full" / "rows.jsonl")


def test_kinds():
    assert not schema.fault({**NETWORK, "macs": None, "mine": object()})
    assert schema.fault({"table": "comparison", "model": "a"}) == "a row of the table 'comparison' has no resolution"
