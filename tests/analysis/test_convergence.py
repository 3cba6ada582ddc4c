"""Convergence from curves, and what verdicts at several budgets say together."""

from __future__ import annotations

import pytest

from scsc_lab.analysis.convergence import convergence, sentence, share_converged


def run(losses, accuracies, constant=0, status="complete"):
    curve = [
        {"epoch": at + 1, "loss": loss, "accuracy": {} if value is None else {"accuracy": value}}
        for at, (loss, value) in enumerate(zip(losses, accuracies, strict=True))
    ]
    return {"curve": curve, "constant_epochs": constant, "status": status}


def test_a_flat_curve_has_converged_and_a_falling_one_has_not():
    flat = run([4, 2, 1, 1, 1, 1, 1, 1], [10, 50, 80, 80, 80, 80, 80.5, 81.0])
    result = convergence(flat)
    assert result is not None
    assert (result.loss_fall, result.accuracy_rise, result.converged) == (0.0, 0.5, True)
    falling = run([4, 3.5, 3, 2.5, 2, 1.5, 1, 0.5], [80.0] * 8)
    assert convergence(falling).loss_fall == pytest.approx(12.5)
    assert not convergence(falling).converged
    rising = run([4.0] + [1.0] * 7, [10, 20, 30, 40, 50, 60, 70, 80])
    assert not convergence(rising).converged


@pytest.mark.parametrize("accuracy", [1.0, 10.0, 15.9])
def test_a_run_at_chance_has_not_converged(accuracy):
    stuck = {**run([2.3] * 8, [accuracy] * 8), "chance": 10.0, "accuracy": accuracy, "test_images": 100}
    assert share_converged([stuck]) == (0, 1, 1)  # one deviation is 3 points
    assert share_converged([{**stuck, "accuracy": 16.1}, {**stuck, "chance": None}]) == (2, 0, 2)


def test_the_cool_down_is_left_out():
    cooled = run([4.0] + [1.0] * 7 + [0.5, 0.2], [80.0] * 8 + [90.0, 95.0], constant=8)
    assert convergence(cooled).converged
    assert not convergence({**cooled, "constant_epochs": 0}).converged


def test_epochs_that_were_not_judged():
    rare = run([4.0] + [1.0] * 15, [None] * 7 + [70.0] + [None] * 7 + [80.0])
    assert convergence(rare).accuracy_rise == 10.0
    assert not convergence(run([4.0] + [1.0] * 7, [None] * 7 + [80.0])).converged
    assert convergence(run([4.0] + [1.0] * 7, [None] * 7 + [80.0])).accuracy_rise is None


def test_runs_without_a_curve_state_nothing():
    assert convergence(run([4.0], [10.0])) is None
    assert convergence(run([4.0, 4.0], [10.0, 10.0], status="diverged")) is None
    assert convergence({"status": "complete"}) is None
    flat = run([4, 1, 1, 1], [80.0] * 4)
    assert share_converged([flat, flat, {**flat, "status": "diverged"}, run([4, 3, 2, 1], [80.0] * 4)]) == (2, 0, 3)


@pytest.mark.parametrize(
    ("verdicts", "words"),
    [
        (["better"] * 3, "better at every budget"),
        (["worse"] * 2, "worse at every budget"),
        (["same"] * 2, "the same at every budget"),
        (["inconclusive"] * 2, "inconclusive"),
        (["better", "inconclusive", "same"], "faster to learn, not better"),
        (["better", "worse"], "faster to learn, not better"),
        (["worse", "same"], "slower to learn, not worse"),
        (["better", "inconclusive"], "faster to learn; inconclusive at the largest budget"),
        (["worse", "inconclusive"], "slower to learn; inconclusive at the largest budget"),
        (["same", "inconclusive"], "inconclusive"),
        (["inconclusive", "better"], "better at the largest budget alone"),
        (["inconclusive", "better", "better"], "better from some budget on"),
        ([None, "better"], "no verdict: too few seeds"),
        ([], "no verdict: too few seeds"),
    ],
)
def test_the_sentence_of_verdicts(verdicts, words):
    assert sentence(verdicts) == words
