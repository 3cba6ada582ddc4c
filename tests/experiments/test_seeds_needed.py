"""Seeds planned from finished runs, and added until intervals are narrow."""

from __future__ import annotations

import numpy as np
import pytest
from made_runs import summaries

from scsc_lab import InputError
from scsc_lab.analysis import sequential
from scsc_lab.experiments import stopping
from scsc_lab.experiments.train import Trained
from scsc_lab.training.plan import Runs


def run(model, seed, value, epochs=8):
    curve = [{"epoch": at + 1, "loss": 1.0, "accuracy": {"accuracy": value}, "seconds": 10.0} for at in range(epochs)]
    shared = {"status": "complete", "data": "navon", "recipe": "pico", "epochs": epochs, "constant_epochs": epochs // 2}
    return {"model": model, "seed": seed, "accuracy": value, "curve": curve, **shared}


def trained(pairs, deviation=2.0, confidence=0.95, budgets=(8,)) -> Trained:
    draws = np.random.default_rng(0).normal(0, deviation, 100)
    runs, rows = [], []
    for epochs in budgets:
        arms = [[run("base", seed, 60.0, epochs) for seed in range(pairs)]]
        arms.append([run("other", seed, 61.0 + draws[seed], epochs) for seed in range(pairs)])
        runs += [row for arm in arms for row in arm]
        rows.append(tuple(summaries(arms, 0.5, confidence)))
    return Trained((), tuple(map(tuple, rows)))


def test_a_plan_has_seeds_and_hours():
    (plan,) = stopping.plan(trained(8, budgets=(4, 8)), 2.0)
    differences = [row["accuracy"] - 60.0 for row in trained(8).runs[8:]]
    assert plan.deviation == pytest.approx(np.std(differences, ddof=1))
    assert plan.needed == sequential.needed(plan.deviation, 2.0)
    seconds = 2 * (8 * 10.0 + 2 * 10.0)  # two networks: eight epochs, and the two of the shorter run's cool-down
    assert plan.seconds == pytest.approx(max(plan.needed - 8, 0) * seconds)
    (line,) = stopping.lines([plan], 2.0, 2)
    assert line.startswith(f"other: {plan.needed} seeds find 2 points with 80 % power")
    with pytest.raises(InputError, match="3 finished pairs of runs at least, not 2"):
        stopping.plan(trained(2), 2.0)


@pytest.mark.parametrize(("points", "stops_at"), [(50.0, 6), (0.01, 20), (1.9, None)])
def test_seeds_are_added_until_the_interval_is_narrow(points, stops_at):
    calls = []

    def measure(settings, confidence):
        calls.append((settings.seeds, confidence))
        return trained(len(settings.seeds), confidence=confidence)

    looks = sequential.looks(20)
    result, look = stopping.until_narrow(measure, Runs(seeds=(5,)), looks, points)
    assert [(len(seeds), seeds[0]) for seeds, _ in calls] == [(one.seeds, 5) for one in looks[: len(calls)]]
    assert [confidence for _, confidence in calls] == [one.confidence for one in looks[: len(calls)]]
    row = result.networks[1]
    width = (row["difference_high"] - row["difference_low"]) / 2
    assert width <= points or look is looks[-1]
    assert look.seeds == (stops_at or look.seeds)
    differences = [run["accuracy"] - 60.0 for run in result.runs if run["model"] == "other"]
    assert width == pytest.approx(sequential.half_width(differences, look.confidence))
    assert f"stopped at {look.seeds}" in stopping.note(look, looks, points)


@pytest.mark.parametrize("width", [3.3, 6.9])
def test_the_figure_of_budgets_has_a_point_and_an_interval_per_budget(width):
    from scsc_lab.report.figures import accuracy
    from scsc_lab.settings import Drawing

    rows = trained(6, budgets=(4, 8, 16)).budgets
    rows = [
        [{**row, "train_macs_mean": 1e9 * row["epochs"], "seconds_mean": 2.0 * row["epochs"]} for row in at]
        for at in rows
    ]
    panels = accuracy.draw_budgets(rows, Drawing(width=width)).axes
    spent = [[list(line.get_xdata()) for line in panel.lines if len(line.get_xdata()) == 3] for panel in panels]
    assert [lines[0] for lines in spent] == [[4, 8, 16], [4, 8, 16], [8, 16, 32]]
    assert len(panels[1].collections[0].get_segments()) == 3


def test_a_table_whose_baseline_had_not_converged_says_so_first_and_budgets_have_a_sentence():
    from scsc_lab.report import accuracy as tables

    result = trained(6, deviation=0.1, budgets=(8, 16))
    table = tables.table(result.networks, result.runs, ["note"], result.budgets)
    assert table.title == ""
    notes = table.details[-1].notes
    assert notes[0] == "other against base: better at every budget (by epochs: 8: better, 16: better)."
    falling = [{**run, "curve": [{**e, "loss": 9.0 - e["epoch"] / 4} for e in run["curve"]]} for run in result.runs]
    arms = [[run for run in falling if (run["model"], run["epochs"]) == (name, 16)] for name in ("base", "other")]
    table = tables.table(summaries(arms), falling, ["note"])
    assert table.title.startswith("CAVEAT: base, the baseline, had not converged in 6 of 6 runs of 16 epochs")
    assert table.notes[0].startswith("Converged: ")
