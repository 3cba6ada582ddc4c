"""Two reports held against each other: what changed, what only seems to, and the exit code."""

from __future__ import annotations

import pytest

from scsc_lab import metrics
from scsc_lab.cli import main
from scsc_lab.report import against, evidence
from scsc_lab.store import as_lines


def rows(**changes):
    base = {"table": "comparison", "resolution": [64, 64], "batch": 1, "baseline": "a", "params": 1e6, "macs": 2e9}
    timed = {"ratio": 1.5, "ratio_low": 1.4, "ratio_high": 1.6, "median_seconds": 0.015}
    own = {**base, "model": "b", **timed, **changes}
    field = {"table": "field", "model": "b", "r50": 0.2, "r50_low": 0.18, "r50_high": 0.22}
    field |= {key: value for key, value in changes.items() if key.startswith("r50")}
    run = {"table": "run", "schema": 1, "command": "", "machine": {}, "versions": {}}
    return [run, {**base, "model": "a", "median_seconds": 0.01}, own, field]


@pytest.mark.parametrize(
    ("changes", "verdict", "certain"),
    [
        ({"ratio": 1.8, "ratio_low": 1.7, "ratio_high": 1.9}, "slower", "yes"),
        ({"ratio": 1.2, "ratio_low": 1.1, "ratio_high": 1.3}, "faster", "yes"),
        ({"ratio": 1.55, "ratio_low": 1.45, "ratio_high": 1.65}, "", "no"),
        ({"macs": 2.1e9}, "worse", "exact"),
        ({"params": 0.9e6}, "better", "exact"),
        ({"r50": 0.1, "r50_low": 0.09, "r50_high": 0.11}, "", "yes"),
    ],
)
def test_a_change_counts_where_it_is_outside_its_interval(changes, verdict, certain):
    (row,) = against.table(rows(), rows(**changes), metrics.columns()).rows
    assert (row["model"], row["verdict"], row["certain"]) == ("b", verdict, certain)


def test_time_in_another_runtime_is_not_exact_and_another_input_is_another_network():
    timed = {"onnxruntime_median_seconds": 0.01, "onnxruntime_ratio": 1.5}
    timed |= {"onnxruntime_ratio_low": 1.4, "onnxruntime_ratio_high": 1.6}
    near, far = ({f"onnxruntime_ratio{end}": by for end, by in zip(("", "_low", "_high"), ends, strict=True)}
                 for ends in ((1.51, 1.41, 1.61), (1.9, 1.8, 2.0)))  # fmt: skip
    (row,) = against.table(rows(**timed), rows(**{**timed, **near}), metrics.columns()).rows
    assert (row["certain"], row["verdict"]) == ("no", "")
    (row,) = against.table(rows(**timed), rows(**{**timed, **far}), metrics.columns()).rows
    assert (row["certain"], row["verdict"]) == ("yes", "slower")
    larger = against.table(rows(), rows(resolution=[96, 96], macs=9e9), metrics.columns())
    assert not larger.rows
    assert "Only in the new report: b at 96×96." in larger.notes


def test_the_same_rows_have_not_changed_and_networks_that_are_missing_are_named():
    assert not against.table(rows(), rows(), metrics.columns()).rows
    notes = against.table(rows(), rows(model="c"), metrics.columns()).notes
    assert notes == ("Only in the new report: c.", "Only in the old report: b.")


@pytest.mark.parametrize(("words", "code"), [([], 0), (["slower"], 1), (["worse"], 0), (["slower,worse"], 1)])
def test_the_exit_code_is_that_of_what_one_fails_on(words, code, tmp_path, monkeypatch, capsys):
    slow = {"ratio": 1.8, "ratio_low": 1.7, "ratio_high": 1.9}
    for name, own in (("old", rows()), ("new", rows(**slow))):
        (tmp_path / f"{name}.jsonl").write_text(as_lines(own))
    monkeypatch.setattr("scsc_lab.cli.rewritten.write", lambda sources, *_: evidence.read(sources[0]))
    fail = [word for one in words for word in ("--fail-on", one)]
    assert (
        main(["report", "--from", str(tmp_path / "new.jsonl"), "--against", str(tmp_path / "old.jsonl"), *fail]) == code
    )
    assert "slower" in capsys.readouterr().out


def test_fail_on_needs_something_to_hold_against(capsys):
    assert main(["report", "--fail-on", "slower"]) == 2
    assert "--fail-on goes with --against" in capsys.readouterr().err
