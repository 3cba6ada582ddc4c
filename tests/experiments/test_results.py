"""Experiments read back from stores and rows: nothing is guessed, nothing is lost, mixtures are a matter of listing."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from scsc_lab import rowfile
from scsc_lab.analysis import paired
from scsc_lab.cli import main
from scsc_lab.experiments import probe, publish, report, report_rows, results, train
from scsc_lab.experiments.experiment import Arm, Experiment, Measure
from scsc_lab.metrics.claims import with_probe
from scsc_lab.metrics.difficulty import Difficulty
from scsc_lab.networks.network import Network
from scsc_lab.provenance import run_info
from scsc_lab.report import method
from scsc_lab.report.findings import claims_table
from scsc_lab.settings import Execution, Fields, Schedule, Settings, Training
from scsc_lab.store import Store
from scsc_lab.training.plan import Runs

RUN = {"data": "navon", "recipe": "pico", "task": "classification", "epochs": 4, "batch_size": 32, "status": "complete"}
RUN |= {"train_images": 4000, "test_images": 1000, "seconds": 60.0, "images_per_second": 260.0, "waiting": 0.02}
RUN |= {"train_macs": 10**12, "head": "", "versions": {"torch": "2.13.0"}, "device": "cpu"}


def runs(*accuracies: float, **more: object) -> list[dict[str, object]]:
    """Return the rows of training runs that were made up, one per seed."""
    rows = []
    for seed, value in enumerate(accuracies):
        curve = [{"epoch": 1, "loss": 2.0, "accuracy": {"accuracy": value}, "seconds": 60.0, "waiting": 0.02}]
        rows.append({"seed": seed, "accuracy": value, "curve": curve, **RUN, **more})
    return rows


def add(store: Store, arms: list[Arm], measured: list[dict[str, list[dict[str, object]]]], kind="comparison") -> None:
    """Register an experiment, and keep rows that were made up: for each arm the rows of its metrics' parts."""
    words = {"accuracy": "accuracy", "size": "macs", "latency": "latency"}
    names = list(dict.fromkeys(name for rows in measured for name in rows))
    experiment = Experiment(
        kind, tuple(arms), tuple(Measure(name, None) for name in names), tuple(words[name] for name in names)
    )
    uses = []
    for at, rows in enumerate(measured):
        for metric, parts in rows.items():
            for number, row in enumerate(parts):
                key = f"{arms[at].network.text} {metric} {sorted(row.items(), key=str)}"
                store.keep(key, {"metric": metric}, [row])
                uses.append({"arm": at, "key": key, "position": 0, "part": number, "metric": metric})
    store.register(experiment.row(), [arm.row() for arm in arms], uses)


def pair(*more: Arm) -> list[Arm]:
    return [Arm(Network.read("swin_pico")), Arm(Network.read("scsc_swin_pico"), 0), *more]


BASELINE = (20, 22, 24, 20, 22, 23, 21)
OTHER = (60, 62, 61, 63, 64, 60, 61)


@pytest.fixture
def store(tmp_path) -> Store:
    store = Store(tmp_path / "a.db")
    size = [{"params": 100, "macs": 50, "activations": 5, "bytes": 9}]
    smaller = [{"params": 80, "macs": 40, "activations": 4, "bytes": 8}]
    rows = [{"accuracy": runs(*BASELINE), "size": size}, {"accuracy": runs(*OTHER), "size": smaller}]
    add(store, pair(), rows)
    full, variant = Network.read("scsc_swin_pico"), Network.of("scsc_swin_pico", {"shuffle": False})
    arms = [Arm(full, None, "components", "full"), Arm(variant, 0, "components", "no shuffle")]
    add(store, arms, [{"accuracy": runs(*OTHER)}, {"accuracy": runs(61, 60, 64, 65, 63, 62)}], "ablation")
    return store


def test_each_arm_has_its_numbers_and_its_changes_against_its_baseline(store):
    compared, ablated = results.read(store)
    assert [row["baseline"] for row in compared.rows] == ["swin_pico", "swin_pico"]
    assert compared.rows[1]["seed_pairs"] == 7
    assert compared.rows[1]["params_change"] == pytest.approx(-0.2)
    full, variant = ablated.rows
    assert (full["variant"], variant["variant"], variant["study"]) == ("full", "no shuffle", "components")
    assert variant["seed_pairs"] == 6  # of one seed each, though the full network has seven


def test_runs_that_are_missing_are_said_and_an_arm_without_rows_has_its_name_alone(store):
    first, *others = [key for key in store.all_rows() if key.startswith("scsc_swin_pico accuracy")]
    store.forget([first])
    arm = results.read(store)[0].rows[1]
    assert (arm["accuracy_status"], arm["seed_pairs"]) == ("cut short", 6)
    store.forget(others)
    arm = results.read(store)[0].rows[1]
    assert arm["macs"] == 40
    assert not {"runs", "accuracy_difference"} & arm.keys()


def test_the_user_s_values_and_shifted_seeds_are_the_arm_s(tmp_path):
    store = Store()
    shifted = [{**run, "seed": run["seed"] + 2} for run in runs(21, 24)]
    arms = [Arm(Network.read("swin_pico"), values={"mIoU": 3.0})]
    arms.append(Arm(Network.read("swin_pico"), 0, values={"mIoU": 5.0}, seed_shift=2, label="again"))
    add(store, arms, [{"accuracy": runs(20, 22)}, {"accuracy": shifted}])
    (result,) = results.read(store)
    assert [row["model"] for row in result.rows] == ["swin_pico", "again"]
    assert (result.rows[1]["seed_pairs"], result.rows[1]["change_of_user:mIoU"]) == (2, 2.0)


def test_several_files_become_one_report_without_torch(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    other = Store(tmp_path / "b.db")
    add(other, [Arm(Network.read("resnet_pico"))], [{"size": [{"params": 7, "macs": 5, "activations": 1, "bytes": 1}]}])
    code = (
        "import sys; from scsc_lab.cli import main; code = main(sys.argv[1:]); print('torch' in sys.modules); "
        "sys.exit(code)"
    )
    words = ["report", "--from", "a.db", "--from", "b.db", "--name", "both"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("False\n")
    text = (tmp_path / "reports/both/README.md").read_text()
    for part in ("is it more accurate? ", "A probe at small scale", "no shuffle", "Every run", "resnet_pico"):
        assert part in text
    assert (tmp_path / "reports/both/accuracy_of_seeds.png").exists()
    assert main(["report", "--from", "reports/both/rows.jsonl"]) == 0  # beside the rows, which stay as they are
    assert (tmp_path / "reports/both/README.md").read_text() == text
    assert len(rowfile.opened(tmp_path / "reports/both/rows.jsonl").experiments()) == 3


MISTAKES = [
    (["--from", "a.db", "--from", "b.db"], "several files become one report: name it with --name"),
    (["--from", "none.db"], "no file 'none.db'"),
    (["--from", "empty.jsonl"], "empty.jsonl has no experiment"),
    (["--from", "strange.jsonl"], "strange.jsonl, line 1 is not a record"),
    (["--from", "binary.db"], "is not a store: neither an SQLite file nor rows in JSON lines"),
    (["--from", "a.db", "--name", "mine"], "is another report"),
]


@pytest.mark.parametrize(("words", "message"), MISTAKES, ids=[" ".join(words) for words, _ in MISTAKES])
def test_bad_input_is_one_line(words, message, store, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "b.db").write_bytes((tmp_path / "a.db").read_bytes())
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "binary.db").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "strange.jsonl").write_text('{"key": "x", "metric": "size"}\n')
    (tmp_path / "reports/mine").mkdir(parents=True)
    (tmp_path / "reports/mine/README.md").write_text("a text of my own")
    assert main(["report", *words]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error
    assert (tmp_path / "reports/mine/README.md").read_text() == "a text of my own"


def test_claims_about_accuracy_stay_open_beside_the_probe(store, capsys):
    trained = publish.trained(store.path)
    assert [row["network"] for row in trained] == ["swin_pico", "scsc_swin_pico"]
    claims = {row["claim"]: row for row in publish.claims(trained)}
    swin = claims["Swin: better accuracy"]
    assert swin["verdict"] == "not tested: needs ImageNet or face data"
    assert (swin["measured"], swin["probe_pairs"], swin["probe_verdict"]) == (None, 7, "better")
    assert "probe_pairs" not in claims["ResNet: accuracy"]  # which was not trained
    main(["paper", "--probe", str(store.path)])
    out = capsys.readouterr().out
    assert "A probe at small scale" in out
    assert "neither confirms nor refutes" in out


def test_claims_have_the_probe_of_every_budget():
    trained = [
        {"network": name, "runs": runs(*values, epochs=epochs)}
        for epochs, gain in ((16, 0), (4, 9))
        for name, values in (("swin_pico", BASELINE), ("scsc_swin_pico", [value + gain for value in OTHER]))
    ]
    (row,) = with_probe([{"claim": "Swin: better accuracy", "network": "scsc_swin_tiny"}], trained)
    budgets = [(probe["probe_epochs"], probe["probe_pairs"]) for probe in row["probe_budgets"]]
    assert budgets == [(4, 7), (16, 7)]
    first, last = row["probe_budgets"]
    assert first["probe_difference"] == pytest.approx(last["probe_difference"] + 9)
    assert {key: row[key] for key in last} == last
    assert {first["probe_p_holm"], last["probe_p_holm"]} == {2 * 2 / 2**7}
    (table,) = claims_table([row]).details
    assert [shown["probe_epochs"] for shown in table.rows] == [4, 16]


def test_a_report_on_the_claims_takes_the_probe_of_what_is_listed_beside_it(store):
    both = Store()
    rowfile.absorb(both, store, {})
    experiment = report.claims()
    claim = {"claim": "Swin: better accuracy", "network": "scsc_swin_tiny", "measured": None}
    both.keep("claims", {"metric": "claims"}, [{"claims": [claim]}])
    use = {"arm": 0, "key": "claims", "position": 0, "part": 0, "metric": "claims"}
    both.register(experiment.row(), [experiment.arms[0].row()], [use])
    rows = report_rows.rows(results.read(both), run_info())
    (row,) = [row for row in rows if row["table"] == "claim"]
    assert row["probe_pairs"] == 7


def test_p_values_are_adjusted_over_all_comparisons_of_a_report(tmp_path):
    both = Store()
    for name in ("swin_pico", "resnet_pico"):
        arms = [Arm(Network.read(name)), Arm(Network.read(f"scsc_{name}"), 0)]
        values = [20 + seed for seed in range(6)]
        add(both, arms, [{"accuracy": runs(*values)}, {"accuracy": runs(*(v + 10 + v % 2 for v in values))}])
    rows = report_rows.rows(results.read(both), run_info())
    adjusted = [row["p_holm"] for row in rows if row.get("p_value")]
    assert adjusted == [pytest.approx(0.0625)] * 2  # twice the smallest, 1/32


def test_the_probe_resumes_and_needs_no_weights_once_it_is_done(tmp_path, monkeypatch):
    tuned = Schedule(budgets=(1, 2), tune=("lr", "1e-3,1e-2"), tune_seeds=1, tune_epochs=1)
    names = ("resnet_pico[depths=1,1,1,1]", "scsc_resnet_pico[depths=1,1,1,1]")
    pair = probe.Study(names, schedule=tuned)
    monkeypatch.setattr(probe, "STEPS", (((pair,), 1), ((pair,), 2)))
    monkeypatch.setattr(probe, "FIELDS", Settings(fields=Fields(samples=2)))
    monkeypatch.setattr(train, "Difficulty", partial(Difficulty, images=20))
    training = Training(train_images=80, test_images=8, recipe_set={"warmup_epochs": 0})
    settings, weights = Settings(Execution("cpu"), training=training), tmp_path / "weights"
    store = Store(tmp_path / "accuracy" / "rows.db")
    experiments = probe.run(settings, weights, store)
    numbers = Counter(measurement["metric"] for measurement in store.measurements().values())
    assert numbers == {"size": 2, "training": 2 * 2 + 2 * 2 * 2, "trained_field": 2, "difficulty": 2 * 2}
    for file in weights.iterdir():
        file.unlink()
    monkeypatch.setattr("scsc_lab.training.loop.make_optimizer", lambda *args, **options: pytest.fail("trained"))
    measurements = store.measurements()
    assert len(probe.run(settings, weights, store)) == len(experiments)
    assert store.measurements() == measurements
    assert main(["report", "--from", str(store.path), "--folder", str(tmp_path), "--name", "fields"]) == 0
    text = (tmp_path / "fields" / "README.md").read_text()
    for moment in ("before", "after"):
        assert f"how does its receptive field change, {moment} training?" in text
    for part in (
        "By training budget",
        "Tuning: accuracy on held-out",
        "By difficulty",
        f"CAVEAT: {names[0]} is at chance in 2 of 2 runs",
    ):
        assert text.count(part) == 1
    for figure in ("receptive_fields", "budgets", "difficulty"):
        assert (tmp_path / "fields" / f"{figure}.png").exists()


def test_an_experiment_that_is_repeated_with_more_seeds_is_shown_once(tmp_path):
    store = Store()
    for seeds in (3, 6):
        networks = [Network.read(name) for name in ("swin_pico", "resnet_pico")]
        asked = train.experiment(networks, Runs(seeds=tuple(range(seeds))))
        for experiment in train.scheduled(asked, Schedule(budgets=(4, 8)))[0]:
            store.register(experiment.row(), [arm.row() for arm in experiment.arms], [])
    tables = [row["table"] for row in report_rows.rows(results.read(store), run_info())]
    assert tables.count("comparison") == 2


def test_measurements_on_other_threads_or_with_other_seeds_of_fields_are_no_repetition():
    arms = [Arm(Network.read("swin_pico"))]
    for metric, settings in (
        ("latency", [Settings(Execution(threads=threads)) for threads in (1, 2)]),
        ("erf", [Settings(fields=Fields(seeds=seeds)) for seeds in (1, 4)]),
    ):
        store = Store()
        for each in (*settings, settings[0]):
            experiment = Experiment("comparison", tuple(arms), (Measure(metric, each),), (metric,))
            store.register(experiment.row(), [arm.row() for arm in arms], [])
        tables = [row["table"] for row in report_rows.rows(results.read(store), run_info())]
        assert tables.count("comparison") == 2


def test_a_transplant_is_compared_with_its_own_original():
    store, names = Store(), ("resnet_pico", "swin_pico", "swin_pico + SCSC")
    times = (1.0, 4.0, 2.0)
    measured = []
    for seconds in times:
        timing = {"runtime": "torch", "status": "complete", "samples_seconds": [seconds] * 8, "verdict": "slower"}
        timing |= {"median_seconds": seconds, "ratio": seconds, "ratio_low": seconds, "ratio_high": seconds}
        measured.append({"size": [{"macs": int(100 * seconds)}], "latency": [{"runtimes": ["torch"], **timing}]})
    networks = [Network.read(name) for name in names]
    add(store, [Arm(network, 0 if at else None) for at, network in enumerate(networks)], measured)
    (found,) = results.read(store)
    rows = {row["model"]: row for row in found.rows}
    other, transplant = rows["swin_pico"], rows["swin_pico + SCSC"]
    assert (other["baseline"], other["ratio"], other["macs_change"]) == ("resnet_pico", 4.0, 3.0)
    assert (transplant["baseline"], transplant["macs_change"], transplant["verdict"]) == ("swin_pico", -0.5, "faster")
    assert [transplant[key] for key in ("ratio", "ratio_low", "ratio_high")] == pytest.approx([0.5] * 3)


@pytest.mark.parametrize("confidence", [0.95, 0.9875])
def test_a_network_timed_beside_its_original_is_compared_with_that_at_the_level_of_all_looks(confidence):
    draws = np.random.default_rng(0)
    times = [(1 + at) * draws.lognormal(0, 0.1, 32) for at in range(3)]
    arms, rows = _timed_arms(times, confidence, baselines=(None, 0, 0))
    _, _, grafted = results.result(*_timed(arms), rows).rows
    wanted = paired.compare(times[1], times[2], confidence=confidence)
    assert grafted["baseline"] == "resnet34"
    assert (grafted["ratio"], grafted["ratio_low"], grafted["ratio_high"]) == (wanted.ratio, wanted.low, wanted.high)


def test_times_of_other_rounds_make_no_pairs():
    """A baseline of its own is timed in rounds of its own, however many."""
    arms, rows = _timed_arms([np.linspace(1, 2, 32)] * 3, 0.95, baselines=(None, None, 0))
    _, _, grafted = results.result(*_timed(arms), rows).rows
    assert (grafted["baseline"], grafted["ratio"]) == ("resnet18", 9.0)


def _timed_arms(times, confidence, baselines):
    """Return the arms of a comparison and their rows, each with a ratio to the first arm."""
    labels = ("resnet18", "resnet34", "resnet34 + SCSC")
    shared = {"runtime": "torch", "status": "complete", "delta": 0.02, "resamples": 5000, "seed": 0}
    shared |= {"ratio": 9.0, "ratio_low": 8.0, "ratio_high": 10.0, "verdict": "slower", "confidence": confidence}
    rows = {f"k{at}": [{**shared, "samples_seconds": list(map(float, each))}] for at, each in enumerate(times)}
    arm = {"resolution": [64, 64], "study": "", "variant": "", "values": {}, "metrics": [], "seed_shift": 0}
    named = zip(labels, baselines, strict=True)
    return [{**arm, "label": label, "network": label, "baseline": baseline} for label, baseline in named], rows


def _timed(arms):
    experiment = {"kind": "comparison", "metrics": ["latency"], "batch": 1, "details": {}}
    return experiment, arms, [{"arm": at, "metric": "latency", "key": f"k{at}", "position": 0} for at in range(3)]


def test_a_report_of_runs_that_differ_names_the_commits_and_versions_of_all(monkeypatch):
    """A study that was resumed after an update: the first run alone is not how its rows were measured."""
    resumed = Store()
    for name, commit, torch in (("swin_pico", "a1", "2.12.0"), ("resnet_pico", "b2", "2.13.0")):
        info = replace(run_info(), command="scsc-lab report", commit=commit, versions={"torch": torch})
        monkeypatch.setattr("scsc_lab.experiments.experiment.run_info", lambda info=info: info)
        add(resumed, [Arm(Network.read(name))], [{"size": [{"params": 1, "macs": 1}]}])
    rows = report_rows.rows(results.read(resumed), run_info())
    assert (rows[0]["command"], rows[0]["commits"]) == ("scsc-lab report", ["a1", "b2"])
    text = " ".join(method.sentences(rows))
    assert "of commits a1 and b2" in text
    assert "torch 2.12.0 and 2.13.0" in text
