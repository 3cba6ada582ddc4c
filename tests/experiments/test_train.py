"""Runs as tasks: rows a run, rows a network, kept and paired; and the command."""

from __future__ import annotations

import dataclasses
import itertools
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from made_runs import summaries

from scsc_lab import InputError
from scsc_lab.cli import main
from scsc_lab.execution.pools import Parallel
from scsc_lab.experiments import train
from scsc_lab.metrics import accuracy, training
from scsc_lab.networks.network import Network
from scsc_lab.report import accuracy as tables
from scsc_lab.report.figures import accuracy as figures
from scsc_lab.settings import Drawing, Schedule, Training
from scsc_lab.store import Store
from scsc_lab.training.plan import Runs, plan

NET = """
from torch import nn
def linear(width: int = 8):
    return nn.Sequential(nn.Conv2d(3, width, 8, stride=8), nn.ReLU(), nn.Flatten(), nn.Linear(64 * width, 20))
def headless():
    return nn.Sequential(nn.Conv2d(3, 8, 8, stride=8), nn.ReLU())
def broken():
    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3 * 64 * 64, 20)
        def forward(self, x):
            return self.linear(x.flatten(1)) * (float("nan") if self.training else 1.0)
    return Broken()
"""


@pytest.fixture
def networks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    return [Network.of("net.py:linear", {"width": width}) for width in (4, 8)]


SMALL = Training(epochs=1, train_images=64, test_images=40, recipe_set={"warmup_epochs": 0})


def measure(networks, settings, budgets=(), store=None, executor=None, progress=None, **options):
    asked = train.experiment(networks, settings, **options)
    return train.run(asked, Schedule(budgets=budgets), store, executor, progress)


def _losses(run) -> list[float]:
    return [epoch["loss"] for epoch in run["curve"]]


def small(seeds=(0, 1)) -> Runs:
    return Runs(plan(SMALL), tuple(seeds), device="cpu")


def test_rows_of_runs_and_of_networks(networks):
    trained = measure(networks, small())
    assert [(row["model"], row["seed"]) for row in trained.runs] == [
        (str(network), seed) for network in networks for seed in (0, 1)
    ]
    for row in trained.runs:
        assert row["status"] == "complete"
        assert {"accuracy", "global_accuracy", "local_accuracy", "curve", "images_per_second", "versions"} <= row.keys()
    width = 4
    macs, first = 64 * (width * 3 * 64) + 64 * width * 20, 64 * (width * 3 * 64)
    assert trained.runs[0]["train_macs"] == 64 * (3 * macs - first)
    baseline, other = trained.networks
    assert other["accuracy_difference"] == pytest.approx(other["accuracy_mean"] - baseline["accuracy_mean"])
    assert (other["baseline"], other["verdict"], "p_value" in baseline) == (str(networks[0]), None, False)
    assert any("not tuned" in note for note in accuracy.notes(trained.networks))


def test_runs_are_kept_and_not_repeated(networks, tmp_path):
    store = Store(tmp_path / "rows.db")
    first = measure(networks, small(), store=store)
    assert len(store.keys()) == 4
    told = []
    settings = dataclasses.replace(small(), threads=2)  # which decides no number
    again = measure(networks, settings, store=Store(store.path), progress=lambda *args: told.append(args))
    assert again.networks == first.networks
    assert not told
    more = measure(networks, small((0, 1, 2)), store=store)
    assert len(store.keys()) == 6
    assert more.runs[0] == first.runs[0]


def test_runs_in_threads_of_one_process_take_turns(networks):
    """As in a Dask worker of several threads: torch's random numbers are the process's."""
    with ThreadPoolExecutor(4) as pool:
        beside = measure(networks, small((0, 1, 2)), executor=pool)
    in_turn = measure(networks, small((0, 1, 2)))
    assert [_losses(run) for run in beside.runs] == [_losses(run) for run in in_turn.runs]


def test_a_run_leaves_torch_the_threads_that_it_had(networks):
    torch.set_num_threads(2)
    try:
        training.measure(networks[:1], dataclasses.replace(small(), threads=1), lambda *told: None)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_a_diverged_run_lets_the_others_go_on(networks):
    trained = measure([Network.of("net.py:broken"), networks[0]], small())
    assert [row["status"] for row in trained.runs] == ["diverged"] * 2 + ["complete"] * 2
    assert trained.runs[0]["accuracy"] is None
    assert trained.networks[0]["accuracy_mean"] is None
    assert "accuracy_difference" not in trained.networks[1]
    assert any("DIVERGED with seed 0, 1" in note for note in accuracy.notes(trained.networks))


def test_a_first_run_that_diverged_at_once_hides_no_accuracy_of_the_others():
    lost = {**fake("a", [0.0])[0], "status": "diverged", "accuracy": None}
    found = accuracy.summary([lost, *({**run, "local_accuracy": 5.0} for run in fake("a", [1.0, 2.0, 4.0])[1:])])
    assert (found["accuracy_mean"], found["local_accuracy_mean"]) == (3.0, 5.0)


def test_runs_of_other_data_or_recipes_are_no_pairs():
    one, two = ({"runs": fake(name, [60.0 + at, 61.0])} for at, name in enumerate("ab"))
    assert accuracy.against(two, one)["seed_pairs"] == 2
    for change in ({"data": "faces"}, {"epochs": 5}, {"recipe": "pico lr=1"}, {"train_images": 64}):
        assert accuracy.against({"runs": [{**run, **change} for run in two["runs"]]}, one) == {}


def test_weights_of_other_plans_and_networks_do_not_overwrite_each_other(networks, tmp_path):
    settings = dataclasses.replace(small((0,)), weights=str(tmp_path / "weights"))
    longer = dataclasses.replace(settings.plan, recipe=dataclasses.replace(settings.plan.recipe, epochs=2))
    labelled = [dataclasses.replace(network, label="Ours") for network in networks]
    names = {training.weights_name(one, own, 0) for own in (settings, dataclasses.replace(settings, plan=longer))
             for one in labelled}  # fmt: skip
    assert len(names) == 4
    (run,) = training.measure(networks[:1], settings, lambda *told: None)
    file = training.weights_file(networks[0], settings, 0)
    assert file is not None
    assert file.name == run["weights_file"] in {training.weights_name(networks[0], settings, 0)}
    assert training.weights_file(networks[0], dataclasses.replace(settings, plan=longer), 0) is None
    file.rename(file.with_name(f"{file.name.rpartition('-')[0]}.safetensors"))  # a name that says nothing of the recipe
    assert training.weights_file(networks[0], settings, 0) is None


def test_the_baseline_against_itself_has_other_seeds(networks):
    trained = measure(networks, small(), self_test=True)
    assert [row["seed"] for row in trained.runs] == [0, 1, 2, 3]
    assert {row["model"] for row in trained.networks} == {str(networks[0]), f"{networks[0]}, other seeds"}


def fake(model: str, values: list[float]) -> list[dict[str, object]]:
    shared = {"status": "complete", "data": "navon", "recipe": "pico", "epochs": 4}
    shared |= {"train_images": 4000, "test_images": 1000, "head": "", "curve": []}
    return [{"model": model, "seed": seed, "accuracy": value, **shared} for seed, value in enumerate(values)]


def test_holm_adjusts_over_the_rows_of_a_table():
    base = [60.0, 61.0, 62.0, 60.5, 61.5, 62.5]
    rows = summaries(
        [
            fake("base", base),
            fake("better", [value + 3 + 0.1 * i for i, value in enumerate(base)]),
            fake("noise", [value + (-1) ** i for i, value in enumerate(base)]),
        ]
    )
    assert rows[1]["p_value"] == 2 / 64
    assert rows[1]["p_holm"] == 4 / 64
    assert rows[2]["p_holm"] == rows[2]["p_value"]
    assert [row["verdict"] for row in rows] == [None, "inconclusive", "inconclusive"]
    assert any("2 comparisons need 7 seeds or more: with 6," in note for note in accuracy.notes(rows))
    again = summaries([fake("base", base), *(fake("m", [v + 3 + 0.1 * i for i, v in enumerate(base)]) for _ in "ab")])
    assert [row.get("p_holm") for row in again] == [None, 2 / 64, 2 / 64]  # one network is one comparison
    assert again[1]["verdict"] == "better"
    table = tables.table(rows, fake("base", base))
    assert [column.heading for column in table.columns if not column.optional][-1] == "verdict"
    assert [row["model"] for row in table.rows] == ["base", "better", "noise"]
    assert [record["kind"] for record in table.raw] == ["network"] * 3 + ["run"] * 6
    assert all("runs" not in record for record in table.raw)
    few = summaries([fake("base", base[:5]), fake("other", [value + 3 for value in base[:5]])])
    assert few[1]["verdict"] is None
    assert any("1 comparison needs 6 seeds or more: with 5," in note for note in accuracy.notes(few))
    assert not any("1 comparison" in note for note in accuracy.notes(rows))


def judged(loss: float, accuracy: float) -> list[dict[str, object]]:
    """Return the curve of a run of one epoch."""
    return [{"epoch": 1, "loss": loss, "accuracy": {"accuracy": accuracy}}]


def test_figures_show_every_run():
    rows = summaries([fake("base", [60.0, 61.0, 62.0]), fake("other", [61.0, 63.0, 62.5])])
    for row in rows:
        row["runs"] = [{**run, "curve": judged(1.0, 50.0)} for run in row["runs"]]
    axes = figures.draw([rows]).axes
    assert sum(len(collection.get_offsets()) for collection in axes[0].collections) == 6
    assert len(axes[0].lines) == 3 + 2  # a line a pair, a mean a network
    losses, accuracies = figures.curves(rows).axes
    assert len(losses.lines) == 6 + 2  # the runs, and the means
    assert len(losses.collections) == 2  # bands
    assert accuracies.lines[-1].get_label() == "chance"


def test_a_figure_joins_runs_of_one_seed_where_one_is_missing():
    rows = summaries([fake("base", [60.0, 61.0, 62.0]), fake("other", [61.0, 63.0, 62.5])])
    del rows[1]["runs"][1]
    axes = figures.draw([rows]).axes[0]
    joins = [list(line.get_xdata()) for line in axes.lines if line.get_color() == "0.75"]
    assert joins == [[60.0, 61.0], [62.0, 62.5]]


@pytest.mark.parametrize("others", [1, 5])
def test_the_mean_that_is_drawn_is_the_tables(others):
    rows = summaries([fake(f"net{at}", [60.0, 62.0, 5.0]) for at in range(1 + others)])
    for row in rows:
        row["runs"] = [{**run, "status": "complete" if run["accuracy"] > 50 else "diverged"} for run in row["runs"]]
    (means,) = [line for line in figures.draw([rows]).axes[0].lines if line.get_color() == "black"][:1]
    assert 61.0 in (*means.get_xdata(), *means.get_ydata())


@pytest.mark.parametrize("width", [3.3, 6.9])
def test_many_networks_have_a_row_each_and_one_mean_curve(width):
    others = [fake(f"base + mixer_{at}", [61.0 + at, 63.0 - at, 62.5]) for at in range(10)]
    rows = summaries([fake("base", [60.0, 61.0, 62.0]), *others])
    for row in rows:
        row["runs"] = [
            {**run, "curve": judged(loss, run["accuracy"])}
            for run, loss in zip(row["runs"], (1.0, 2.0, 6.0), strict=True)
        ]
    figure = figures.draw([rows], Drawing(width=width))
    dots, intervals = figure.axes
    assert [len(collection.get_offsets()) for collection in dots.collections] == [3] * 11
    assert len(intervals.collections) == 10
    figure.draw_without_rendering()
    box = figure.get_tightbbox()
    assert min(box.x0, box.y0) >= -0.01
    assert box.x1 <= width + 0.01
    places = [label.get_window_extent() for label in dots.get_yticklabels()]
    assert all(one.y0 >= other.y1 - 1 for one, other in itertools.pairwise(places))
    loss, accuracy_ = figures.curves(rows, Drawing(width=width)).axes
    means = [line for line in loss.lines if line.get_linewidth() > 0.5]
    assert [line.get_ydata()[0] for line in means] == [3.0] * 11
    assert sum(not line.get_label().startswith("_") for line in means) == 6  # the others are light, without a name
    thick = next(line for line in accuracy_.lines if line.get_linewidth() > 0.5)
    assert thick.get_ydata()[0] == pytest.approx(61.0)


def test_a_network_that_does_not_fit_is_said_before_another_is_trained(networks, capsys, monkeypatch):
    monkeypatch.setattr("scsc_lab.training.loop.make_optimizer", lambda *args, **options: pytest.fail("trained"))
    monkeypatch.setattr("scsc_lab.timing.latency.measure", lambda *args, **options: pytest.fail("timed"))
    assert main(["train", "net.py:linear", "net.py:headless", *WORDS]) == 2
    assert "net.py:headless: " in capsys.readouterr().err
    words = ["--with", "latency,accuracy", "--data", "imagefolder:none", "--device", "cpu"]
    assert main(["compare", "net.py:linear", *words]) == 2
    assert "imagefolder:none: no such folder" in capsys.readouterr().err


def test_the_command(networks, capsys, tmp_path):
    words = ["--seeds", "2", "--epochs", "1", "--train-images", "64", "--test-images", "40", "--recipe-set"]
    words += ["warmup_epochs=0", "--store", "rows.db", "--write-weights", "weights", "--plot", "plot.svg"]
    command = ["train", "net.py:linear[width=4]", "net.py:linear", *words, "--device", "cpu", "--format", "json"]
    assert main(command) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["kind"] for row in rows] == ["network"] * 2 + ["run"] * 4
    assert (tmp_path / "plot.svg").exists()
    assert not (tmp_path / "rows.checkpoints").exists()
    weights = sorted((tmp_path / "weights").iterdir(), key=lambda path: path.stat().st_size)
    assert len(weights) == 4
    assert main(["flops", "net.py:linear[width=4]", "--resolution", "64", "--weights", str(weights[0])]) == 0


def test_a_plan_knows_what_data_is_for():
    assert plan(Training("faces")).task == "verification"
    assert plan(Training()).task == "classification"
    assert plan(Training(batch_size=64)).recipe.batch_size == 64
    assert plan(Training(recipe="swin300", recipe_set=(("lr", "1e-4"),))).recipe_name == "swin300 lr=1e-4"
    with pytest.raises(InputError, match="task 'verify': one of classification, verification"):
        Training(task="verify")


WORDS = ["--recipe-set", "epochs=1", "--recipe-set", "warmup_epochs=0", "--device", "cpu", "--seeds", "2"]
WORDS += ["--resolution", "64"]


def test_a_run_whose_weights_are_wanted_and_gone_is_trained_again(networks, tmp_path, capsys):
    settings = dataclasses.replace(small((0,)), weights=str(tmp_path / "weights"))
    store = Store(tmp_path / "rows.db")
    first = measure(networks[:1], small((0,)), store=store)
    again = measure(networks[:1], settings, store=Store(store.path))
    (file,) = (tmp_path / "weights").iterdir()
    assert again.runs[0]["weights_file"] == file.name
    assert again.runs[0]["accuracy"] == first.runs[0]["accuracy"]
    told = []
    measure(networks[:1], settings, store=Store(store.path), progress=lambda *args: told.append(args))
    assert not told


def test_an_interrupt_leaves_the_runs_that_ended(networks, tmp_path):
    def stop(what, done, of):
        if done == 3 and what.startswith("training of"):
            raise KeyboardInterrupt

    store = Store(tmp_path / "rows.db")
    trained = measure(networks, small((0, 1, 2)), store=store, progress=stop)
    assert trained.interrupted
    assert [row["seed"] for row in trained.runs] == [0, 1, 0]
    assert trained.networks[1]["seed_pairs"] == 1
    assert len(store.keys()) == 3


BUDGETS = ["--budgets", "1,4,2", "--recipe-set", "warmup_epochs=0.5", "--device", "cpu", "--seeds", "2"]
BUDGETS += ["--train-images", "96", "--test-images", "40", "--format", "json"]


def test_budgets_share_their_epochs_and_equal_runs_of_their_own(networks, tmp_path, capsys):
    command = ["train", "net.py:linear", "net.py:linear[width=4]", *BUDGETS]
    assert main([*command, "--store", "rows.db"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    runs = {(row["model"], row["epochs"], row["seed"]): row for row in rows if row["kind"] == "run"}
    assert sorted({epochs for _, epochs, _ in runs}) == [1, 2, 4]
    assert len(runs) == len(Store(tmp_path / "rows.db").keys()) == 12
    assert not (tmp_path / "rows.checkpoints").exists()
    summaries = [(row["model"], row["epochs"]) for row in rows if row["kind"] == "network"]
    assert summaries == [(name, epochs) for epochs in (1, 2, 4) for name in ("net.py:linear", "net.py:linear[width=4]")]
    alone = [word for word in command if word not in ("--budgets", "1,4,2")]
    assert main([*alone, "--epochs", "4"]) == 0
    for row in json.loads(capsys.readouterr().out)["rows"]:
        if row["kind"] == "run":
            own = runs[row["model"], 4, row["seed"]]
            assert [epoch["loss"] for epoch in row["curve"]] == [epoch["loss"] for epoch in own["curve"]]
            assert row["accuracy"] == own["accuracy"]


def test_budgets_in_processes_are_trained_in_turn(networks, monkeypatch):
    """A chain is one process's: no budget is trained from the start where a shorter one was."""
    settings = Runs(plan(Training(train_images=64, test_images=8, epochs=2)), (0, 1), device="cpu")
    with Parallel(2).pool() as pool:
        shared = measure(networks, settings, budgets=[1, 2], executor=pool)
    assert [row["epochs"] for row in shared.runs] == [1] * 4 + [2] * 4
    again = measure(networks, settings, budgets=[1, 2])
    assert [run["curve"][-1]["loss"] for run in again.runs] == [run["curve"][-1]["loss"] for run in shared.runs]


def test_tuning_gives_each_network_equally_many_runs_on_held_out_images(networks, capsys, tmp_path):
    words = ["--tune", "lr=1e-4,1e-2", "--tune-epochs", "2", "--store", "rows.db", *BUDGETS]
    assert main(["train", "net.py:linear", "net.py:linear[width=4]", *words]) == 0
    found = json.loads(capsys.readouterr().out)
    tried = [row for row in found["rows"] if row["kind"] == "tuning"]
    assert [(row["value"], row["seeds"]) for row in tried] == [("1e-4", 2), ("1e-2", 2)] * 2
    chosen = {row["model"]: float(row["value"]) for row in tried if row["chosen"]}
    runs = [row for row in found["rows"] if row["kind"] == "run"]
    assert all(row["lr"] == chosen[row["model"]] for row in runs)
    assert {row["tuned"] for row in runs} == {"lr=1e-4,1e-2, 2 seeds, 2 epochs"}
    assert {row["recipe"] for row in runs} == {"pico warmup_epochs=0.5"} or {row["recipe"] for row in runs} == {"pico"}
    trials = [row for (row,) in Store(tmp_path / "rows.db").all_rows().values() if row["seed"] >= 1000]
    assert len(trials) == 8
    assert all(row["train_images"] + row["test_images"] == 96 for row in trials)
    assert any("Tuned per network on held-out training images" in note for note in found["notes"])
    assert not any("not tuned" in note for note in found["notes"])


def test_every_command_trains_by_the_same_schedule_and_shares_its_runs(networks, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("scsc_lab.training.data.navon.TRAIN_IMAGES", 96)
    monkeypatch.setattr("scsc_lab.training.data.navon.TEST_IMAGES", 40)
    words = ["--budgets", "1,2", "--tune", "lr=1e-4,1e-2", "--tune-seeds", "1", "--tune-epochs", "1"]
    words += ["--device", "cpu", "--seeds", "2", "--store", "rows.db", "--resolution", "64"]
    assert main(["train", "net.py:linear", "net.py:linear[width=4]", *words, "--format", "json"]) == 0
    trained = json.loads(capsys.readouterr().out)["rows"]
    monkeypatch.setattr("scsc_lab.training.loop.make_optimizer", lambda *args, **options: pytest.fail("trained"))
    asked = ["--with", "params,accuracy", *words, "--format", "json"]
    for command in (
        ["compare", "net.py:linear", "net.py:linear[width=4]", *asked, "--device", "auto"],
        ["ablate", "net.py:linear", "--grid", "width=4", "--no-draw", *asked],
    ):
        assert main(command) == 0
        rows = json.loads(capsys.readouterr().out)["rows"]
        assert [row["kind"] for row in rows[2:]] == ["budget"] * 2 + ["tuning"] * 4
        assert [row["accuracy_mean"] for row in rows[2:4]] == [row["accuracy_mean"] for row in trained[:2]]
        for key in ("accuracy_mean", "p_holm"):  # p is adjusted over all budgets
            assert [row.get(key) for row in rows[:2]] == [row.get(key) for row in trained[2:4]]
    assert main(["report", "--from", "rows.db", "--name", "all"]) == 0
    assert "By training budget" in (tmp_path / "reports" / "all" / "README.md").read_text()
    capsys.readouterr()
    for command in (["compare", "net.py:linear", "net.py:linear[width=4]"], ["ablate", "net.py:linear"]):
        assert main([*command, "--budgets", "1,2"]) == 2
        assert "--budgets trains networks: add accuracy to --with" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("values", "best", "is_at_edge"),
    [
        (("1e-3", "3e-4", "3e-3"), "1e-3", False),
        (("1e-3", "3e-4", "3e-3"), "3e-4", True),
        (("true", "false"), "true", False),
    ],
)
def test_the_edge_of_a_grid_is_that_of_its_numbers(values, best, is_at_edge):
    costs = {"train_macs": 1, "seconds": 1, "seeds": 2}
    rows = [
        {"model": "a", "key": "k", "grid": "g", "value": value, "chosen": value == best, **costs} for value in values
    ]
    assert any("at the edge" in line for line in tables.tuning_notes(rows)) == is_at_edge
