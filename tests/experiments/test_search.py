"""Searches: exact where counts decide; by trials that resume, share a study, and measure no more than they must."""

from __future__ import annotations

import json
import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from scsc_lab.cli import main
from scsc_lab.experiments import results, runner
from scsc_lab.experiments.search import exact, goals, sampled, trials
from scsc_lab.experiments.search.exact import Search
from scsc_lab.experiments.search.goals import Goals
from scsc_lab.metrics import training
from scsc_lab.metrics.size import counted
from scsc_lab.networks import space
from scsc_lab.networks.network import Network
from scsc_lab.settings import Settings, Timing, Training
from scsc_lab.store import Store

pytest.importorskip("optuna")

COUNTS = Goals((goals.objective("params", "lower", "--minimise"), goals.objective("macs", "lower", "--minimise")))
QUICK = Settings(timing=Timing(pairs=2, min_seconds=0, max_seconds=0.05, warm_up_seconds=0))
NET = """
from torch import nn
def linear(width: int = 8, depth: int = 1):
    return nn.Sequential(nn.Conv2d(3, width, 8, stride=8), nn.ReLU(), nn.Flatten(), nn.Linear(64 * width, 20))
"""


PICO = "scsc_swin_pico[depths=1,1,1,1]"


def pico(*texts, name=PICO, wanted=COUNTS, settings=QUICK, **more):
    network = Network.read(name)
    return Search(space.parse(network, texts), wanted, network, settings, **more)


TWO_THOUSAND = ("kernels=3;5;9;3,5;3,9", "groups", "reduction=0.25,0.5", "patch=2,4,8,16", "se", "embed_dim=8..32:4")


def test_trials_find_the_true_front_of_a_space_that_can_be_enumerated():
    asked = pico(*TWO_THOUSAND, name="scsc_swin_pico", trials=300)
    assert asked.space.size >= 2000
    enumerated = exact.run(asked)
    true = {(row["params"], row["macs"]) for row in enumerated.rows}
    tried = sampled.run(asked)
    assert len(true) > 2
    assert {(tried.rows[at]["params"], tried.rows[at]["macs"]) for at in tried.front} == true


def test_the_exact_front_is_counted_in_full_and_keeps_to_the_budgets():
    wanted = replace(COUNTS, budgets=(goals.budget("macs<=-5%"),))
    found = exact.run(pico("kernels=3,5;3,5,7;1,3,5", "groups=1,2,4,64", wanted=wanted))
    for row in found.rows:
        count = counted(Network.read(row["model"]))
        assert (row["params"], row["macs"]) == (count.params, count.macs)
        assert row["macs_change"] <= -0.05
    nothing = pico("groups=1,2", wanted=replace(COUNTS, budgets=(goals.budget("macs<=1M"),)))
    assert exact.run(nothing).front == ()


def test_what_cannot_be_or_breaks_a_budget_is_given_up_before_it_is_timed(monkeypatch):
    timed = []
    run = runner.run
    monkeypatch.setattr(runner, "run", lambda experiments, *more: timed.extend(experiments) or run(experiments, *more))
    fast = goals.objective("latency", "lower", "--minimise")
    wanted = Goals((fast,), (goals.budget("macs<=-1%"),))
    found = sampled.run(pico("groups=1,64", "kernels=3,5;9,13", wanted=wanted, trials=12, sampler="random"))
    reasons = list(found.given_up)
    assert any("groups=64" in reason for reason in reasons)
    assert "not macs ≤ -1%" in reasons
    measured = {
        arm.network.text for experiment in timed for arm in experiment.arms if experiment.columns == ("latency",)
    }
    assert measured == {PICO, *(row["model"] for row in found.rows)}
    assert {row["options"] for row in found.rows} == {"--set groups=1 --set kernels=3,5"}


def test_a_search_resumes_and_measures_its_front_again_side_by_side(tmp_path):
    wanted = Goals((goals.objective("latency", "lower", "--minimise"), COUNTS.objectives[1]))
    store = Store(tmp_path / "search.db")
    first = sampled.run(pico("groups=1,2,4", "se", wanted=wanted, trials=2), store)
    again = sampled.run(pico("groups=1,2,4", "se", wanted=wanted, trials=5), Store(tmp_path / "search.db"))
    assert (first.tried, again.tried) == (2, 5)
    shared = {row["model"]: row for row in again.rows}
    assert all(shared[row["model"]]["samples_seconds"] == row["samples_seconds"] for row in first.rows)
    assert set(again.confirmed) == {-1, *again.front}
    for at in again.front:
        assert again.confirmed[at]["samples_seconds"] != again.rows[at]["samples_seconds"]
    compared = [result for result in results.read(store) if result.experiment["kind"] == "comparison"]
    assert len(compared) == 2
    assert {row["model"] for row in compared[-1].rows} >= {again.rows[at]["model"] for at in again.front}


def test_an_interrupt_gives_the_trial_back_and_shows_the_front_so_far(tmp_path, monkeypatch):
    asked, store = pico("groups=1,2,4", "se", trials=6), Store(tmp_path / "search.db")
    give = sampled._Run._try
    calls = []

    def interrupted(self, proposed):
        calls.append([trial.params for trial in proposed])
        if len(calls) == 3:
            raise KeyboardInterrupt
        give(self, proposed)

    monkeypatch.setattr(sampled._Run, "_try", interrupted)
    found = sampled.run(asked, store)
    assert (found.interrupted, found.tried) == (True, 2)
    assert sampled.run(asked, store).tried == 6
    assert calls[3] == calls[2]  # the same settings again


@pytest.fixture
def join(tmp_path, monkeypatch):
    """A function that joins a study as one more process would."""
    monkeypatch.setattr(trials, "_BEAT_SECONDS", 0.1)
    monkeypatch.setattr(trials, "_STALE_SECONDS", 1.0)
    monkeypatch.setattr(trials, "_WAIT_SECONDS", 0.01)
    space_of_trials = pico("groups", "se").space
    return lambda: trials.Trials("study", f"sqlite:///{tmp_path}/study.db", space_of_trials, COUNTS, "random", 0)


def test_trials_of_a_killed_process_are_proposed_again(join):
    killed, other, slow = join(), join(), join()
    lost = killed._study.ask(killed._options)
    with slow.propose(1, 9) as alive:
        with other.propose(1, 9) as proposed:
            assert proposed[0].number not in (lost.number, alive[0].number)
            other.give_up(proposed[0], "no", {})
        time.sleep(1.2)
        with other.propose(1, 9) as proposed:
            assert proposed[0].params == lost.params
            other.complete(proposed[0], [1.0, 1.0], {})
        slow.give_up(alive[0], "slow", {})
    killed.complete(lost, [2.0, 2.0], {})  # it was only stopped for a while
    assert [trial.reason for trial in killed.finished()] == ["slow", "no", ""]


def test_the_last_trials_are_claimed_by_one_process(join):
    first, second = join(), join()
    with first.propose(2, 3) as two, second.propose(2, 3) as one, first.propose(1, 3) as none:
        assert (len(two), len(one), len(none)) == (2, 1, 0)
        first.complete(two[0], [1.0, 1.0], {})
    with second.propose(9, 3) as freed:
        assert len(freed) == 2


def test_processes_that_begin_at_once_make_no_more_trials_than_asked(join):
    def take_part(process):
        while len(process.finished()) < 12:
            with process.propose(2, 12) as proposed:
                for trial in proposed:
                    process.complete(trial, [1.0, 1.0], {})

    processes = [join() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(take_part, processes))
    assert len(processes[0].finished()) == 12


def test_seeds_go_to_the_contenders_until_the_runs_are_spent(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    accuracy = {"1": 70.0, "2": 80.0, "3": 90.0, "4": 90.5}

    def simulated(network, settings, seed, progress):
        noise = random.Random(f"{network.text} {seed}").gauss(0, 1) + 3 * random.Random(seed).gauss(0, 1)
        shared = {"data": "navon", "recipe": "pico", "epochs": 1, "train_images": 64, "test_images": 40}
        return {
            **shared,
            "seed": seed,
            "status": "complete",
            "accuracy": accuracy[dict(network.overrides)["width"]] + noise,
        }

    monkeypatch.setattr(training, "run", simulated)
    network = Network.read("net.py:linear[width=1]")
    settings = Settings(training=Training(epochs=1, train_images=64, test_images=40, recipe_set={"warmup_epochs": 0}))
    wanted = Goals((goals.objective("accuracy", "higher", "--maximise"),))
    asked = Search(space.parse(network, ["width=1..4"]), wanted, network, settings, 24, 30, "random")
    found = sampled.run(asked)
    runs = {dict(Network.read(row["model"]).overrides)["width"]: len(row["runs"]) for row in found.rows}
    assert runs.keys() == accuracy.keys()
    assert runs["3"] == runs["4"] > runs["2"] >= runs["1"] >= sampled.FEWEST_SEEDS
    assert sum(runs.values()) + sampled.FEWEST_SEEDS <= asked.max_runs
    assert {found.rows[at]["model"] for at in found.front} <= {"net.py:linear[width=3]", "net.py:linear[width=4]"}
    assert [run["seed"] for run in found.confirmed[found.front[0]]["runs"]] == [1000, 1001]
    few = sampled.run(replace(asked, max_runs=6))  # the baseline's two, and two networks
    assert len(few.rows) == 2
    assert few.tried < asked.trials


def test_the_command_finds_the_setting_nearest_to_the_papers_claim(capsys, tmp_path):
    words = "search scsc_swin_tiny --space kernels --near macs=-22% --baseline swin_tiny --format json"
    assert main([*words.split(), "--figure", str(tmp_path / "front.png")]) == 0
    row = json.loads(capsys.readouterr().out)["rows"][1]
    assert row["options"] == "--set stage1.kernels=9 --set stage2.kernels=3 --set stage3.kernels=5,7"
    assert round(100 * row["macs_change"], 2) == -22.00
    assert (tmp_path / "front.png").stat().st_size > 1000


def test_a_search_over_mixers_by_the_command(capsys, tmp_path):
    words = "--space rule.mixer=identity,pooling --minimise latency --resolution 32 --trials 4"
    quick = "--pairs 2 --max-time 0.05 --budget macs<=-10% --seed 3"
    network = "resnet_pico[depths=1,1,1,1]"
    assert main(["search", network, *words.split(), *quick.split(), "--store", str(tmp_path / "s.db")]) == 0
    assert "--rule mixer=" in capsys.readouterr().out


@pytest.mark.parametrize("how", ["--minimise macs", "--minimise latency --trials 2 --max-time 0.05"])
def test_a_budget_that_nothing_keeps_to_is_exit_code_1(how, capsys):
    assert main(["search", "scsc_swin_pico", "--space", "groups=1,2", "--max-macs", "1M", *how.split()]) == 1
    assert "No network meets the budgets." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "mistake"),
    [
        ("swin_pico --space window=2,4", "nothing to search for"),
        ("scsc_swin_pico --minimise macs", "no --space"),
        ("scsc_swin_pico swin_pico --space groups --minimise macs", "a search varies one network"),
        ("scsc_swin_pico --space groups --minimise speed", "speed"),
        ("scsc_swin_pico --space groups --minimise macs --trials 5", "leave --trials out"),
        ("scsc_swin_pico --space groups --minimise latency --sampler exact", "only params and macs"),
        ("scsc_swin_pico --space groups --minimise latency --study nothing://x --store s.db", "--study nothing://x"),
        ("scsc_swin_pico --space groups --minimise latency --study sqlite:///x.db", "name both"),
        ("scsc_swin_pico --space groups --minimise macs --max-macs 2", "is 2G meant"),
    ],
)
def test_mistakes_are_one_line(words, mistake, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["search", *words.split()]) == 2
    error = capsys.readouterr().err
    assert mistake in error
    assert error.count("\n") == 1
