"""Evaluation: shares with intervals, the same images for every network, heads that do not match, verification."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image as Pillow

from scsc_lab.cli import main

NET = """
import torch
from torch import nn
class Bright(nn.Module):
    def __init__(self, sign: float = 1.0, outputs: int = 2):
        super().__init__()
        self.sign = nn.Parameter(torch.tensor(sign))
        self.outputs = outputs
    def forward(self, x):
        mean = self.sign * x.mean(dim=(1, 2, 3))
        return torch.stack([-mean, mean, *[mean * 0 - 9] * (self.outputs - 2)], dim=1)
def bright(sign: float = 1.0, outputs: int = 2):
    return Bright(sign, outputs)
def embedding():
    torch.manual_seed(0)
    return nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(192, 16))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    for split, count in (("train", 2), ("val", 8)):
        for label, name in enumerate(("dark", "light")):
            for index in range(count):
                path = tmp_path / "data" / split / name / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                swapped = split == "val" and index == 0  # one image of each class is of the other
                Pillow.fromarray(np.full((40, 40, 3), 230 if label ^ swapped else 20, np.uint8)).save(path)
    return tmp_path


def test_two_networks_on_the_same_images(folder, capsys):
    command = ["evaluate", "net.py:bright", "net.py:bright[sign=-1.0]", "--data", "imagefolder:data"]
    command += ["--resolution", "32", "--predictions", "said.csv", "--format", "json"]
    assert main(command) == 0
    one, two = json.loads(capsys.readouterr().out)["rows"]
    assert (one["top1"], two["top1"], one["test_images"]) == (87.5, 12.5, 16)
    assert one["top1_low"] < 87.5 < one["top1_high"] < 100
    assert "top5" not in one
    assert (two["only_baseline_right"], two["only_this_right"]) == (14, 2)
    assert two["mcnemar_p"] == pytest.approx(2 * sum([1, 16, 120]) / 2**16)
    with (folder / "said.csv").open() as file:
        said = list(csv.DictReader(file))
    assert len(said) == 16
    assert said[0]["image"].endswith("data/val/dark/0.png")
    assert (said[0]["label"], said[0]["net.py:bright"], said[1]["net.py:bright"]) == ("dark", "light", "dark")


def test_a_head_that_does_not_match_is_an_error_that_says_which(folder, capsys):
    assert main(["evaluate", "net.py:bright[outputs=3]", "--data", "imagefolder:data", "--resolution", "32"]) == 2
    error = capsys.readouterr().err
    assert "net.py:bright[outputs=3] has 3 outputs, imagefolder:data 2 classes: the data knows dark, light" in error


def test_verification(folder, capsys):
    command = ["evaluate", "net.py:embedding", "--data", "faces", "--test-images", "400", "--resolution", "64"]
    assert main([*command, "--far", "0.05", "--plot", "roc.svg", "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["accuracy_low"] < row["accuracy"] < row["accuracy_high"]
    assert 40 < row["accuracy"] < 70  # random weights
    assert 30 < row["equal_error_rate"] < 60
    assert (folder / "roc.svg").exists()
    assert main([*command, "--far", "0.0001"]) == 2
    assert "impostor pairs" in capsys.readouterr().err


def test_heads_that_do_not_fit_are_said_before_anything_is_judged(folder, monkeypatch, capsys):
    monkeypatch.setattr("scsc_lab.experiments.evaluate.outputs", lambda *args: pytest.fail("judged"))
    words = ["evaluate", "net.py:bright", "net.py:bright[outputs=5]", "--data", "imagefolder:data"]
    assert main([*words, "--resolution", "32"]) == 2
    assert "net.py:bright[outputs=5] has 5 outputs, imagefolder:data 2 classes" in capsys.readouterr().err
