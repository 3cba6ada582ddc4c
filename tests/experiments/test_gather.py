"""Rows of stores as a report: who is held against whom, several files as one, and the probe that is made so."""

from __future__ import annotations

import subprocess
import sys

import pytest
from made_rows import placed, runs, stored

from scsc_lab import InputError
from scsc_lab.cli import main
from scsc_lab.experiments import gather, paper, probe
from scsc_lab.provenance import run_info
from scsc_lab.report import evidence
from scsc_lab.settings import Request
from scsc_lab.store import RowStore

ROWS = [
    *runs("scsc_swin_pico[shuffle=false]", 61, 60, 64, 65, 63, 62),
    *runs("scsc_swin_pico", 60, 62, 61, 63, 64, 60, 61),
    *runs("swin_pico", 20, 22, 24, 20, 22, 23, 21),
    placed("swin_pico", "size", {"params": 100, "macs": 50, "activations": 5, "bytes": 9}, "a"),
    placed("scsc_swin_pico", "size", {"params": 80, "macs": 40, "activations": 4, "bytes": 8}, "b"),
]


def test_networks_find_what_they_are_held_against(tmp_path):
    header, *rows = gather.rows([stored(tmp_path / "a.jsonl", ROWS)], [], run_info())
    assert header["gathered"]
    assert header["versions"] == {"torch": "2.13.0"}
    compared = {row["model"]: row for row in rows if row["table"] == "comparison"}
    assert {name: row["baseline"] for name, row in compared.items()} == dict.fromkeys(compared, "swin_pico")
    assert compared["scsc_swin_pico"]["seed_pairs"] == 7
    assert compared["scsc_swin_pico"]["params_change"] == pytest.approx(-0.2)
    full, variant = [row for row in rows if row["table"] == "ablation"]
    assert (full["variant"], variant["variant"], variant["study"]) == ("full", "no shuffle", "components")
    assert variant["seed_pairs"] == 6  # of one seed each, though the full network has seven


def test_runs_of_other_recipes_are_no_pairs(tmp_path):
    rows = [*runs("swin_pico", 20, 22), *runs("scsc_swin_pico", 60, 62, epochs=7)]
    compared = gather.rows([stored(tmp_path / "a.jsonl", rows)], [], run_info())[1:]
    assert [(row["model"], row["baseline"]) for row in compared] == [(n, n) for n in ("swin_pico", "scsc_swin_pico")]


def test_of_a_run_that_was_made_twice_the_last_counts(tmp_path):
    twice = [*runs("swin_pico", 20, 22), *runs("swin_pico", 21, 23)]
    (row,) = gather.rows([stored(tmp_path / "a.jsonl", twice)], [], run_info())[1:]
    assert [run["accuracy"] for run in row["runs"]] == [21, 23]


def test_several_stores_become_one_report_without_torch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stored(tmp_path / "a.jsonl", ROWS[:-2])
    stored(tmp_path / "b.jsonl", ROWS[-2:])
    code = (
        "import sys; from scsc_lab.cli import main; code = main(sys.argv[1:]); print('torch' in sys.modules); "
        "sys.exit(code)"
    )
    words = ["report", "--from", "a.jsonl", "--from", "b.jsonl", "--name", "both"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("False\n")
    text = (tmp_path / "reports/both/README.md").read_text()
    for said in ("is it more accurate? ", "A probe at small scale", "| −20.0% |", "no shuffle", "Every run"):
        assert said in text
    assert (tmp_path / "reports/both/accuracy_swin_pico.png").exists()
    assert main(["report", "--from", "reports/both/rows.jsonl", "--name", "both"]) == 0  # where they lie
    again = (tmp_path / "reports/both/README.md").read_text()
    assert again.splitlines()[3:] == text.splitlines()[3:]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--from", "a.jsonl", "--from", "b.jsonl"], "several files become one report: say what it is called"),
        (["--from", "none.jsonl"], "no file 'none.jsonl'"),
        (["--from", "strange.jsonl"], "no row in strange.jsonl is one of a measurement"),
        (["--from", "lacking.jsonl"], "has no curve"),
        (["--from", "a.jsonl", "--name", "mine"], "is another report"),
        (["--from", "a.jsonl", "--probe", "a.jsonl"], "--probe goes with the rows of one report"),
        (["--write-weights", "w"], "--write-weights goes with --pico"),
        (["--pico", "resnet18"], "leave the models out"),
    ],
)
def test_bad_input_is_one_line(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    stored(tmp_path / "a.jsonl", ROWS)
    stored(tmp_path / "b.jsonl", ROWS)
    (tmp_path / "strange.jsonl").write_text('{"key": "x", "metric": "size"}\n')
    stored(tmp_path / "lacking.jsonl", [{k: v for k, v in row.items() if k != "curve"} for row in ROWS[:1]])
    (tmp_path / "reports/mine").mkdir(parents=True)
    (tmp_path / "reports/mine/README.md").write_text("a text of my own")
    assert main(["report", *words]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error
    assert (tmp_path / "reports/mine/README.md").read_text() == "a text of my own"


def test_claims_about_accuracy_stay_open_beside_the_probe(tmp_path, capsys):
    store = stored(tmp_path / "a.jsonl", ROWS)
    rows = gather.rows([store], [], run_info())
    trained = [row for row in rows if row.get("runs")]
    claims = {row["claim"]: row for row in paper.claim_rows(trained)}
    swin = claims["Swin: better accuracy"]
    assert swin["verdict"] == "not tested: needs ImageNet or face data"
    assert (swin["measured"], swin["probe_pairs"], swin["probe_verdict"]) == (None, 7, "better")
    assert "probe_pairs" not in claims["ResNet: accuracy"]  # which was not trained
    assert paper.probed(list(claims.values()), [])[4] == {k: v for k, v in swin.items() if not k.startswith("probe_")}
    main(["paper", "--probe", str(store.path)])
    out = capsys.readouterr().out
    assert "A probe at small scale" in out
    assert "neither confirms nor refutes" in out


def test_the_probe_goes_on_and_needs_no_weights_once_it_is_done(tmp_path, monkeypatch, capsys):
    pairs = ((("resnet_pico", "scsc_resnet_pico"), (("data", "navon"),)),)
    monkeypatch.setattr(probe, "PAIRS", pairs)
    monkeypatch.setattr(probe, "STUDY", "stages")
    words = (("epochs", "1"), ("train_images", "32"), ("test_images", "8"), ("recipe.warmup_epochs", "0"))
    effort = probe.Effort(2, 1, (1,), 2, words)
    monkeypatch.setattr(probe.variants, "built_in", lambda *args: [])
    path, weights = tmp_path / "accuracy" / "rows.jsonl", tmp_path / "weights"
    request = Request(device="cpu")
    probe.measure(RowStore(path), path.parent / "fields", weights, request, effort)
    rows = RowStore(path).rows
    metrics = [row["metric"] for row in rows]
    assert {name: metrics.count(name) for name in set(metrics)} == {"size": 2, "training": 4, "trained_field": 4}
    assert len(list(weights.iterdir())) == 2
    for file in weights.iterdir():
        file.unlink()
    monkeypatch.setattr("scsc_lab.training.loop.make_optimizer", lambda *args, **options: pytest.fail("trained"))
    probe.measure(RowStore(path), path.parent / "fields", weights, request, effort)
    assert RowStore(path).rows == rows
    assert main(["report", "--from", str(path), "--folder", str(tmp_path)]) == 0
    text = (path.parent / "README.md").read_text()
    for moment in ("before", "after"):
        assert f"how does its receptive field change, {moment} training?" in text
    assert (path.parent / "receptive_fields.png").exists()
    assert evidence.reports(rows) == []


def test_rows_of_nothing_are_refused(tmp_path):
    with pytest.raises(InputError, match="no row in no store is one of a measurement"):
        gather.rows([], [], run_info())
