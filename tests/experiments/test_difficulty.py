"""Harder images from the same draws, and accuracy on them from trained weights."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from scsc_lab.cli import main
from scsc_lab.experiments import train
from scsc_lab.experiments.results import Result
from scsc_lab.training.data import navon, registry
from scsc_lab.training.data.reading import Request

NET = """
from torch import nn
def linear(width: int = 8):
    return nn.Sequential(nn.Conv2d(3, width, 8, stride=8), nn.ReLU(), nn.Flatten(), nn.Linear(64 * width, 20))
"""


def test_the_usual_look_draws_the_test_images():
    test = registry.load("navon", Request(3, 10, 20)).test
    usual = navon.test_images(3, 20, navon.USUAL)
    assert np.array_equal(usual.images, test.images)
    assert np.array_equal(usual.labels, test.labels)


@pytest.mark.parametrize("look", [navon.Look(height=4), navon.Look(height=8), navon.Look(noise=0.3)])
def test_looks_change_the_images_and_not_what_they_show(look):
    usual, harder = navon.test_images(3, 40, navon.USUAL), navon.test_images(3, 40, look)
    assert np.array_equal(usual.labels, harder.labels)
    assert not np.array_equal(usual.images, harder.images)
    same = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(usual.images, harder.images, strict=True)]
    other = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(usual.images, harder.images[1:], strict=False)]
    assert np.mean(same) > np.mean(other) + 0.2


def test_small_letters_have_their_height_and_ink_of_what_they_cover():
    for letter in range(10):
        for height in (4, 5, 6, 7, 8):
            shape = navon._scaled(letter, height)
            assert shape.shape[0] == height
            assert shape.mean() == pytest.approx(navon.glyph(letter).mean(), abs=0.15)


def test_the_command_reports_global_and_local_differences(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    monkeypatch.setattr("scsc_lab.metrics.difficulty.HEIGHTS", (5, 7))
    monkeypatch.setattr("scsc_lab.metrics.difficulty.NOISES", (0.1, 0.3))
    words = ["--train-images", "64", "--test-images", "40", "--recipe-set", "epochs=1", "--device", "cpu"]
    words += ["--seeds", "2", "--difficulty", "--format", "json"]
    command = ["train", "net.py:linear", "net.py:linear[width=4]", *words]
    assert main(command) == 2
    assert "--difficulty needs --data navon and --write-weights" in capsys.readouterr().err
    assert main([*command, "--write-weights", "weights", "--store", "rows.db"]) == 0
    document = json.loads(capsys.readouterr().out)
    rows = [row for row in document["rows"] if row["kind"] == "difficulty"]
    assert [(row["condition"], row["value"]) for row in rows[:4]] == [
        ("small letters", 5), ("small letters", 7), ("noise", 0.1), ("noise", 0.3),
    ]  # fmt: skip
    assert len(rows) == 8
    assert {"global_difference", "local_difference", "local_low"} <= rows[-1].keys()
    (line,) = (note for note in document["notes"] if "small letters: local accuracy differs by" in note)
    assert re.fullmatch(r".* differs by \S+ \(\S+ to \S+\) points at 7, \S+ \(\S+ to \S+\) points at 5\.", line)
    network = next(row for row in document["rows"] if row["kind"] == "network" and row["model"].endswith("[width=4]"))
    assert {"global_difference", "local_low", "local_high"} <= network.keys()


def test_differences_are_of_pairs():
    rows = [
        {"model": model, "seed": seed, "epochs": 1, "condition": "noise", "value": 0.1, "local_accuracy": value + seed}
        for model, value in (("a", 50.0), ("b", 60.0))
        for seed in range(3)
    ]
    result = Result({}, (), (), tuple({"table": "difficulty", **row} for row in rows))
    first, second = train.summaries_by_difficulty(result, "a")
    assert "local_difference" not in first
    assert (second["local_difference"], second["local_low"]) == (10.0, 10.0)
