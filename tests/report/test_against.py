"""Two reports held against each other: what changed, what only seems to, and the exit code."""

from __future__ import annotations

import pytest

from scsc_lab import metrics
from scsc_lab.cli import main
from scsc_lab.report import against


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
    assert [(row["model"], row["new"]) for row in larger.rows] == [("b at 64×64", "missing")]
    assert "Only in the new report: b at 96×96." in larger.notes


def test_the_same_rows_have_not_changed_and_networks_that_are_missing_are_named():
    assert not against.table(rows(), rows(), metrics.columns()).rows
    lost = against.table(rows(), rows(model="c"), metrics.columns())
    assert lost.notes == ("Only in the new report: c.", "Only in the old report: b.")
    assert [(row["model"], row["verdict"]) for row in lost.rows] == [("b", "worse")]


def code(tmp_path, monkeypatch, old, new, words):
    """Return the exit code of a report on new rows that is compared with old ones."""
    monkeypatch.setattr("scsc_lab.experiments.publish.table_rows", lambda path: old)
    monkeypatch.setattr("scsc_lab.cli.report._rewritten", lambda *_: new)
    files = ["--from", str(tmp_path / "new.jsonl"), "--against", str(tmp_path / "old.jsonl")]
    return main(["report", *files, *(["--fail-on", words] if words else [])])


@pytest.mark.parametrize(("words", "expected"), [("", 0), ("slower", 1), ("worse", 0), ("slower,worse", 1)])
def test_the_exit_code_is_that_of_what_one_fails_on(words, expected, tmp_path, monkeypatch, capsys):
    slow = {"ratio": 1.8, "ratio_low": 1.7, "ratio_high": 1.9}
    assert code(tmp_path, monkeypatch, rows(), rows(**slow), words) == expected
    assert "slower" in capsys.readouterr().out
    assert main(["report", "--fail-on", "slower"]) == 2
    assert "--fail-on goes with --against" in capsys.readouterr().err


def without(given, *keys):
    return [{key: value for key, value in row.items() if key not in keys} for row in given]


TIMES = ("ratio", "ratio_low", "ratio_high", "median_seconds")
FASTER_BASELINE = {"ratio": 1.8, "ratio_low": 1.75, "ratio_high": 1.85}


@pytest.mark.parametrize(
    ("old", "new", "words", "expected"),
    [
        (rows(), rows(), "slower,worse", 0),
        (rows(), [*rows()[:2], *rows()[3:]], "worse", 1),  # a network vanished
        (rows(), [*rows()[:2], *rows()[3:]], "slower", 2),
        (rows(), rows()[:1], "slower,worse", 1),  # all vanished
        (rows()[:1], rows(), "slower,worse", 2),  # nothing to compare with
        (rows(), rows(macs=None), "worse", 1),  # numbers lost
        (rows(), without(rows(), "macs"), "worse", 1),
        (rows(), without(rows(), *TIMES), "slower", 2),
        (rows(), without(rows(), *TIMES), "slower,worse", 1),
        (without(rows(), *TIMES), rows(), "slower", 2),  # no time in the old one
        (rows(), rows(status="partial"), "worse", 1),  # a network that fails now
        (rows(), rows(median_seconds=None, latency_status="out of memory"), "worse", 1),
        (rows(), rows(ratio=1.55, ratio_low=None, ratio_high=None), "slower", 2),  # no interval
        (rows(), rows(ratio=1.55, ratio_low=None, ratio_high=None), "worse", 0),
        (rows(), rows(baseline="c"), "slower", 2),  # another baseline
        (rows(verdict="same"), rows(verdict="withheld", ratio=1.51), "slower", 2),  # a busy machine
    ],
)
def test_a_check_never_passes_what_it_has_not_judged(old, new, words, expected, tmp_path, monkeypatch, capsys):
    assert code(tmp_path, monkeypatch, old, new, words) == expected
    assert capsys.readouterr().err.count("\n") == (expected == 2)


def guarded(first, second, low=None, high=None, **more):
    """Return a report whose guarded network is the baseline of a reference."""
    run, network, reference, _ = rows(ratio=second / first, ratio_low=low, ratio_high=high, median_seconds=second)
    return [run, {**network, "median_seconds": first, **more}, reference]


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (guarded(0.012, 0.01, 0.82, 0.85), 1),  # slower than its reference, which is as it was
        (guarded(0.02, 0.02, 0.98, 1.02), 0),  # another machine
        (guarded(0.01, 0.008, 0.78, 0.82), 0),  # the reference is faster
        (guarded(0.008, 0.01, 1.2, 1.3), 1),  # the reference is slower, beside it
        (guarded(0.0101, 0.01, 0.97, 1.01), 0),
        (guarded(0.0101, 0.01, 0.97, 1.01)[:2], 2),  # the reference is gone
    ],
)
def test_a_guarded_baseline_is_judged_by_a_network_that_both_reports_have(new, expected, tmp_path, monkeypatch, capsys):
    old = guarded(0.01, 0.01, 0.98, 1.02)
    assert code(tmp_path, monkeypatch, old, new, "slower") == expected
    alone = [guarded(first, 1.0)[:2] for first in (0.01, 0.011)]
    assert code(tmp_path, monkeypatch, *alone, "slower") == 2
    assert "cannot judge time of a: it has no ratio" in capsys.readouterr().err
