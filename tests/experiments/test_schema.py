"""Rows of wrong types: one line that names file, row and key, wherever rows enter; committed rows stay readable."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from scsc_lab import rowfile
from scsc_lab.cli import main
from scsc_lab.experiments import publish, schema
from scsc_lab.experiments.compare import comparison
from scsc_lab.experiments.experiment import Measure
from scsc_lab.networks.network import Network
from scsc_lab.store import Store

NETWORK = {"table": "comparison", "model": "a", "baseline": "a", "resolution": [64, 64], "macs": 1, "batch": 1}
TRAINED = {"seed": 0, "status": "complete", "curve": [], "data": "navon", "accuracy": 50.0}
WRONG = [
    *(("macs", value) for value in ("x", [1], {}, 10**400, True)),
    *((key, "x") for key in ("params", "ratio", "median_seconds", "r50")),
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
    ("baseline", None),
]


@pytest.mark.parametrize(("key", "value"), WRONG)
def test_a_row_of_a_wrong_type_is_named(key, value):
    assert key in schema.fault({**NETWORK, key: value}) or key == "runs"


ROWS = [
    *(("size", "macs", value) for value in ("x", [1], {}, 10**400, True)),
    *(("training", key, value) for key, value in (("accuracy", "high"), ("curve", 5), ("global_accuracy", "x"))),
    *(("training", key, value) for key, value in (("seed", True), ("accuracy", None), ("curve", [{"epoch": 1}]))),
    ("latency", "samples_seconds", [None]),
]


@pytest.mark.parametrize("suffix", ["db", "jsonl"])
@pytest.mark.parametrize(("metric", "key", "value"), ROWS)
def test_a_row_of_a_wrong_type_is_one_line(metric, key, value, suffix, tmp_path, capsys):
    path = tmp_path / f"rows.{suffix}"
    store = Store(path if suffix == "db" else None)
    experiment = comparison([Network.read("swin_pico")], [], [Measure(metric, None)])
    row = {**(TRAINED if metric == "training" else {}), key: value}
    store.keep("k", {"metric": metric}, [row])
    use = {"arm": 0, "key": "k", "position": 0, "part": 0, "metric": metric}
    store.register(experiment.row(), [experiment.arms[0].row()], [use])
    if suffix == "jsonl":
        path.write_text(rowfile.lines(store))
    for words in (["--from", str(path), "--name", "x"], ["--from", str(path), "--against", str(path)]):
        assert main(["report", *words, "--folder", str(tmp_path / "reports")]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert f"{path}, row k: " in error
        assert "python -X dev" not in error
    assert not (tmp_path / "reports").exists()


ARMS = [{"label": 1}, {"resolution": "64"}, {"resolution": [64, [1]]}, {"baseline": 7}, {"baseline": "x"}]


@pytest.mark.parametrize(
    ("experiment_change", "change"),
    [
        *(({}, change) for change in (*ARMS, {"metrics": [1]})),
        *(({"columns": [[]]}, {}), ({"metrics": [{}]}, {}), ({"run": {}}, {})),
    ],
)
def test_an_experiment_of_a_wrong_type_is_one_line(experiment_change, change, tmp_path, capsys):
    experiment = comparison([Network.read("swin_pico")], [], [])
    store = Store(tmp_path / "rows.db")
    store.register({**experiment.row(), **experiment_change}, [{**experiment.arms[0].row(), **change}], [])
    assert main(["report", "--from", str(store.path), "--name", "x"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert str(store.path) in error
    assert "python -X dev" not in error


@pytest.mark.parametrize("name", ["accuracy", "full", "mixers", "own"])
def test_the_committed_rows_are_right(name):
    assert publish.table_rows(Path(__file__).parents[2] / "reports" / name / "rows.jsonl")


PLACES = {"seconds": 1.0, "kind": "gemm", "least_seconds": 0.5}


@pytest.mark.parametrize(
    "change",
    [
        {"places": [{**PLACES, "seconds": "x"}]},
        {"places": [1]},
        {"roofs": {"macs_per_second": {"median": "x"}}},
        {"roofs": {"macs_per_second": 5}},
        {"parts": [{"macs": {}}]},
        {"moments": [{"r50": [1], "seed_figures": []}]},
        {"stages": [{"seed_figures": [{"r50": "x"}]}]},
        {"timings": "x"},
    ],
)
def test_a_wrong_type_inside_a_row_is_named(change):
    assert next(iter(change)) in schema.fault({**NETWORK, **change})


def test_a_record_that_is_no_json_or_too_large_is_one_line(tmp_path, capsys):
    store = Store(tmp_path / "rows.db")
    store.keep("k", {"metric": "size"}, [{"macs": 1}])
    text = rowfile.lines(store)
    (tmp_path / "rows.jsonl").write_text(text.replace('"position": 0', f'"position": {10**30}'))
    with contextlib.closing(sqlite3.connect(tmp_path / "rows.db", isolation_level=None)) as connection:
        connection.execute("UPDATE rows SET content = 'x'")
    for name, message in (("rows.db", "one of its records is no JSON"), ("rows.jsonl", "as its position")):
        assert main(["report", "--from", str(tmp_path / name), "--name", "x"]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert message in error


def test_kinds():
    assert not schema.fault({**NETWORK, "macs": None, "mine": object()})
    assert schema.fault({"table": "comparison", "model": "a"}) == "a row of the table 'comparison' has no resolution"
