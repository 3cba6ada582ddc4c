"""Objectives and budgets: how they are read, and when intervals let one network beat another."""

from __future__ import annotations

import pytest

from scsc_lab.errors import InputError
from scsc_lab.experiments.search import goals
from scsc_lab.experiments.search.goals import Goals


def timed(ratio, low, high, **more):
    return {"model": "a", "baseline": "b", "ratio": ratio, "ratio_low": low, "ratio_high": high, **more}


def trained(*accuracies, **more):
    shared = {"status": "complete", "data": "navon", "recipe": "pico"}
    runs = [{**shared, "seed": seed, "accuracy": accuracy} for seed, accuracy in enumerate(accuracies)]
    return {"runs": runs, "accuracy_mean": sum(accuracies) / len(accuracies), **more}


FAST = goals.objective("latency", "lower", "--minimise")
SMALL = goals.objective("macs", "lower", "--minimise")
GOOD = goals.objective("accuracy", "higher", "--maximise")


@pytest.mark.parametrize(
    ("text", "kept", "broken"),
    [
        ("macs<=3.5G", {"macs": 3_500_000_000}, {"macs": 3_500_000_001}),
        ("params >= 2M", {"params": 2_000_000}, {"params": 1_999_999}),
        ("macs<=-22%", {"macs_change": -0.23}, {"macs_change": -0.21}),
        ("latency<=5", {"median_seconds": 0.005}, {"median_seconds": 0.0051}),
        ("latency<=-10%", {"ratio": 0.89}, {"ratio": 0.91}),
        ("accuracy>=90", {"accuracy_mean": 90.0}, {"accuracy_mean": 89.9}),
        ("erf>=10%", {"r50": 0.11}, {"r50": 0.09}),
    ],
)
def test_budgets_are_in_the_unit_of_the_heading_or_against_the_baseline(text, kept, broken):
    wanted = Goals((SMALL,), (goals.budget(text),))
    assert wanted.broken(kept) == wanted.broken({}) == []
    assert [str(budget.bound.name) for budget in wanted.broken(broken)] == [
        text.partition("<")[0].partition(" ")[0].partition(">")[0]
    ]


@pytest.mark.parametrize(
    ("read", "mistake"),
    [
        (lambda: goals.budget("macs=3G"), "write COLUMN<=VALUE"),
        (lambda: goals.budget("mac<=3G"), "did you mean macs"),
        (lambda: goals.budget("macs<=3"), "is 3G meant"),
        (lambda: goals.budget("latency<=fast"), "a number in the unit of"),
        (lambda: goals.objective("accuracy", "lower", "--minimise"), "use --maximise accuracy"),
        (lambda: goals.near("latency", "5"), "params or macs"),
        (lambda: Goals(()), "nothing to search for"),
        (lambda: Goals((SMALL, goals.objective("macs", "higher", "--maximise"))), "two objectives"),
    ],
)
def test_mistakes_are_named(read, mistake):
    with pytest.raises(InputError, match=mistake):
        read()


def test_times_dominate_only_where_their_intervals_are_apart():
    wanted = Goals((FAST, SMALL))
    fast, slow = timed(0.8, 0.78, 0.82, macs=5), timed(0.9, 0.88, 0.92, macs=5)
    near = timed(0.83, 0.81, 0.85, macs=5)
    assert wanted.dominates(fast, slow)
    assert not wanted.dominates(fast, near)
    assert not wanted.dominates(fast, {**slow, "macs": 4})
    assert wanted.front([fast, near, slow]) == [0, 1]


def test_accuracies_dominate_by_pairs_of_seeds():
    wanted = Goals((GOOD, SMALL))
    low, high = trained(80.0, 85.0, 90.0, macs=5), trained(82.0, 87.1, 91.9, macs=5)
    assert wanted.dominates(high, low)  # the seeds move both: paired, the difference is clear
    assert not wanted.dominates(trained(82.0, macs=5), trained(80.0, macs=5))  # one pair has no interval
    assert not wanted.dominates(high, {"macs": 5})  # what is not trained yet may be anything
    assert wanted.front([low, high, {**low, "macs": 4}]) == [1, 2]


def test_a_front_keeps_to_the_budgets():
    wanted = Goals((SMALL,), (goals.budget("params<=2M"),))
    rows = [{"macs": 1, "params": 3_000_000}, {"macs": 2, "params": 1_000_000}, {"macs": 3, "params": 1_000_000}]
    assert wanted.front(rows) == [1]


def test_a_target_is_a_distance():
    wanted = goals.near("macs", "-22%")
    assert wanted.value({"macs_change": -0.20}) == pytest.approx(wanted.value({"macs_change": -0.24}))
