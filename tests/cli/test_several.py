"""Several networks in one command: stores, baselines, pairs, one factor at a time, and one bad file among them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import scsc_lab
from scsc_lab.cli import main
from scsc_lab.experiments import runner
from scsc_lab.store import Store
from scsc_lab.units import without_folders

NET = """
from torch import nn

def net(width: int = 4, kernel: int = 3, gate: bool = True, classes: int = 20):
    layers = [nn.Conv2d(3, width, kernel, 2, kernel // 2), nn.Sigmoid() if gate else nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))
"""
WIDE = "net.py:net[width=8]"
QUICK = ["--pairs", "2", "--min-time", "0", "--max-time", "0.1"]


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Return a function that runs a command on small inputs and returns its exit code, rows and complaint."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)

    def runner(*words):
        code = main([*words, "--resolution", "32", "--format", "json"])
        captured = capsys.readouterr()
        return code, json.loads(captured.out)["rows"] if captured.out else [], captured.err

    return runner


@pytest.mark.parametrize(
    "words",
    [
        ["flops", "net.py:net", WIDE],
        ["latency", "net.py:net", WIDE, *QUICK],
        ["latency", "net.py:net", WIDE, *QUICK, "--by", "module"],
        ["erf", "net.py:net", "--layer", "0", "--samples", "2", "-o", "field.png"],
        ["evaluate", "net.py:net", "--test-images", "8"],
        ["export", "net.py:net", "-o", "net.pt2"],
    ],
    ids=lambda words: " ".join(words[:1] + words[-1:]),
)
def test_a_measurement_of_a_store_is_not_made_again(run, words, monkeypatch):
    code, rows, _ = run(*words, "--store", "rows.db")
    assert code == 0
    assert rows
    (experiment, arms, _uses), *others = Store(Path("rows.db")).experiments()
    assert not others
    assert len(arms) == sum(word.startswith("net.py") for word in words)
    assert experiment["run"]["command"].startswith(f"scsc-lab {words[0]}")
    monkeypatch.setattr(runner.Task, "measure", lambda *_: pytest.fail("measured again"))
    assert run(*words, "--store", "rows.db")[:2] == (0, rows)


def test_an_export_is_made_again_for_a_file_that_is_gone(run, tmp_path):
    words = ["export", "net.py:net", "-o", "net.pt2", "--store", "rows.db"]
    assert run(*words)[0] == 0
    (tmp_path / "net.pt2").unlink()
    assert run(*words)[0] == 0
    assert (tmp_path / "net.pt2").exists()


def test_several_baselines_compare_every_other_network_with_each(run):
    words = ["net.py:net", WIDE, "net.py:net[width=16]", "--baseline", WIDE, "--baseline", "net.py:net"]
    _, rows, _ = run("flops", *words, "--no-check")
    pairs = [(row["model"], row["baseline"]) for row in rows]
    assert pairs[2:] == [("net.py:net[width=16]", WIDE), ("net.py:net[width=16]", "net.py:net")]
    assert rows[2]["params_change"] == pytest.approx(rows[2]["params"] / rows[0]["params"] - 1)
    assert rows[3]["params_change"] == pytest.approx(rows[3]["params"] / rows[1]["params"] - 1)
    _, rows, _ = run("latency", *words, *QUICK)
    assert [row["baseline"] for row in rows] == ["", "", WIDE, "net.py:net"]
    assert all(row["ratio"] > 0 for row in rows[2:])


def test_pairs_say_which_network_is_compared_with_which(run):
    words = ["net.py:net", WIDE, "resnet18", "resnet34", "--pair", f"net.py:net:{WIDE}", "--pair", "resnet18:resnet34"]
    _, rows, _ = run("compare", *words, "--with", "params")
    assert {row["model"]: row["baseline"] for row in rows} == {
        "net.py:net": "net.py:net",
        WIDE: "net.py:net",
        "resnet18": "resnet18",
        "resnet34": "resnet18",
    }
    code, _, error = run("compare", "net.py:net", WIDE, "--pair", "net.py:net", "--with", "params")
    assert code == 2
    assert "write BASELINE:NETWORK with two of net.py:net, net.py:net[width=8]" in error
    code, _, error = run("flops", *words, "--baseline", "resnet18")
    assert (code, "leave --baseline out" in error) == (2, True)


def test_one_factor_at_a_time_with_the_unchanged_network_once(run):
    words = ["ablate", "net.py:net", "--vary", "kernel=5,9", "--vary", "gate=false", "--no-draw", "--with", "params"]
    _, rows, _ = run(*words)
    assert [row["variant"] for row in rows] == ["full", "kernel=5", "kernel=9", "gate=false"]
    _, rows, _ = run(*words, "--grid", "kernel=5,7", "--grid", "width=8,16")
    names = [row["variant"] for row in rows]
    assert names[:4] == ["full", "kernel=5", "kernel=9", "gate=false"]
    assert names[4:] == [f"kernel={kernel} width={width}" for kernel in (5, 7) for width in (8, 16)]
    frame = scsc_lab.ablate("scsc_swin", vary={"groups": [4, 8]}, metrics=["params"])
    assert list(frame["variant"]) == ["full", "groups=8"]  # four groups are its own


@pytest.mark.parametrize("words", [["flops"], ["compare", "--with", "params"], ["latency", *QUICK]])
def test_one_bad_file_in_a_list_is_a_row_that_says_so(run, words):
    code, rows, _ = run(*words, "net.py:net", "gone.py:net", WIDE)
    assert code == 1
    assert [row["model"] for row in rows] == ["net.py:net", WIDE, "gone.py:net"]
    assert (rows[2]["status"], rows[2]["failure"]) == ("failed", "no file 'gone.py'")
    code, rows, error = run(*words, "gone.py:net", "lost.py:net")
    assert (code, rows, error) == (2, [], "scsc-lab: no file 'gone.py'\n")


def test_a_network_without_a_field_is_a_row_that_says_so(run):
    code, rows, _ = run("erf", "net.py:net", "resnet18", "--layer", "layer4", "--samples", "2", "-o", "field.png")
    assert (code, rows[0]["model"], rows[1]["status"]) == (1, "resnet18", "failed")
    assert "no layer 'layer4'" in rows[1]["failure"]


def test_tables_call_a_network_of_a_file_by_the_files_name_where_that_tells_them_apart():
    labels = ["a/b/net.py:Net", "/c/other.onnx", "timm:x/y", "d/net.py:Net + SCSC", "e/f.py:g", "h/f.py:g"]
    short = ["net.py:Net", "other.onnx", "timm:x/y", "net.py:Net + SCSC", "e/f.py:g", "h/f.py:g"]
    assert list(without_folders(labels).values()) == short
