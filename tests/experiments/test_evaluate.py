"""Evaluation: shares with intervals, the same images for every network, heads that do not match, verification."""

from __future__ import annotations

import csv
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image as Pillow

from scsc_lab.cli import main
from scsc_lab.metrics.evaluation import class_maps, outputs
from scsc_lab.training.data import Data, Task, registry
from scsc_lab.training.data.encoded import Encoded
from scsc_lab.training.data.reading import Request

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


DATA = ["--data", "imagefolder:data", "--resolution", "32"]


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


@pytest.mark.parametrize("batch_size", ["1", "256"])
def test_two_networks_on_the_same_images(folder, capsys, batch_size):
    command = ["evaluate", "net.py:bright", "net.py:bright[sign=-1.0]", *DATA, "--batch-size", batch_size]
    assert main([*command, "--predictions", "said.csv", "--format", "json"]) == 0
    one, two = json.loads(capsys.readouterr().out)["rows"]
    assert (one["top1"], two["top1"], one["test_images"]) == (87.5, 12.5, 16)
    assert one["top1_low"] < 87.5 < one["top1_high"] < 100
    assert "top5" not in one
    assert (two["only_baseline_right"], two["only_this_right"]) == (14, 2)
    assert two["mcnemar_p"] == pytest.approx(2 * sum([1, 16, 120]) / 2**16)
    assert "mcnemar_p_holm" not in two  # one comparison
    with (folder / "said.csv").open() as file:
        said = list(csv.DictReader(file))
    assert len(said) == 16
    assert said[0]["image"].endswith("data/val/dark/0.png")
    assert (said[0]["label"], said[0]["net.py:bright"], said[1]["net.py:bright"]) == ("dark", "light", "dark")


def test_p_values_of_several_networks_are_adjusted_for_their_number(folder, capsys):
    networks = ["net.py:bright", "net.py:bright[sign=-1.0]", "net.py:bright[sign=-2.0]"]
    assert main(["evaluate", *networks, "--data", "imagefolder:data", "--resolution", "32", "--format", "json"]) == 0
    _, *compared = json.loads(capsys.readouterr().out)["rows"]
    assert [row["mcnemar_p_holm"] for row in compared] == [2 * row["mcnemar_p"] for row in compared]


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
    monkeypatch.setattr("scsc_lab.metrics.evaluation.outputs.outputs", lambda *args: pytest.fail("judged"))
    assert main(["evaluate", "net.py:bright", "net.py:bright[outputs=5]", *DATA]) == 2
    message = "net.py:bright[outputs=5] has 5 outputs, imagefolder:data 2 classes: the data has dark, light"
    assert message in capsys.readouterr().err


BAD = """
import torch
from torch import nn
class Bad(nn.Module):
    def __init__(self, images: int = 3):
        super().__init__()
        self.images = images
    def forward(self, x):
        x = x.mean(dim=(2, 3))[:, :2].repeat(1, 4)
        x[: self.images] = float("nan")
        return x[:, :2]
def bad(images: int = 3):
    return Bad(images)
def pair():
    class Pair(nn.Module):
        def forward(self, x):
            return x, x
    return Pair()
"""


def test_outputs_that_are_not_finite_have_no_accuracy(folder, capsys):
    (folder / "bad.py").write_text(BAD)
    words = ["evaluate", "net.py:bright", "bad.py:bad", *DATA]
    words += ["--batch-size", "16", "--predictions", "p.csv"]
    assert main([*words, "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    good, bad = document["rows"]
    assert (good["top1"], good["not_finite"], bad["top1"], bad["not_finite"]) == (87.5, 0, None, 3)
    assert bad["mcnemar_p"] is None
    with (folder / "p.csv").open() as file:
        assert [row["bad.py:bad"] == "not finite" for row in csv.DictReader(file)] == [True] * 3 + [False] * 13
    assert main(words) == 0
    assert "NO ACCURACY for bad.py:bad: its outputs for 3 of 16 images are not finite" in capsys.readouterr().out
    faces = ["evaluate", "net.py:embedding", "bad.py:bad", "--data", "faces", "--test-images", "300", "--far", "1e-1"]
    assert main([*faces, "--resolution", "64", "--plot", "roc.svg", "--format", "json"]) == 0
    good, bad = json.loads(capsys.readouterr().out)["rows"]
    assert good["accuracy"] > 0
    assert (bad["accuracy"], bad["tar_at_far"], bad["equal_error_rate"]) == (None, None, None)


def test_several_outputs_are_refused(folder, capsys):
    (folder / "bad.py").write_text(BAD)
    for data in ("imagefolder:data", "faces"):
        assert main(["evaluate", "bad.py:pair", "--data", data, "--resolution", "32"]) == 2
        assert "bad.py:pair: the network returns a tuple, not one tensor" in capsys.readouterr().err


def test_predictions_run_nothing_in_a_spreadsheet(folder):
    for split in ("train", "val"):
        (folder / "data" / split / "light").rename(folder / "data" / split / "=1+1")
    words = ["evaluate", "net.py:bright", *DATA, "--predictions", "p.csv"]
    assert main(words) == 0
    assert ",'=1+1" in (folder / "p.csv").read_text()
    assert ",=1+1" not in (folder / "p.csv").read_text()


TRAINED = """
import torch
from torch import nn
def small():
    return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 5))
other = small
"""


@pytest.fixture
def flat(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.py").write_text(TRAINED)
    for label, name in enumerate(("dark", "light")):
        for index in range(8):
            path = tmp_path / "flat" / name / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Pillow.fromarray(np.full((16, 16, 3), 40 + 10 * index + 80 * label, np.uint8)).save(path)
    return tmp_path


def trained(flat, suffix, *more, seed="3", network="small.py:small"):
    words = ["train", network, "--data", "imagefolder:flat", "--resolution", "16", "--epochs", "1"]
    words += ["--batch-size", "4", "--seeds", "1", "--seed", seed, "--weights-format", suffix]
    assert main([*words, "--write-weights", f"w{seed}", *more]) == 0
    (path,) = (flat / f"w{seed}").glob(f"*{suffix}")
    return path


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_divided_folder_is_divided_as_in_training(flat, suffix, capsys):
    pytest.importorskip("safetensors")
    weights = trained(flat, suffix, "--split", "0.25")
    expected = registry.load("imagefolder:flat", Request(3, split=0.25)).test
    words = ["evaluate", "small.py:small", "--weights", str(weights), "--data", "imagefolder:flat"]
    words += ["--resolution", "16", "--predictions", "p.csv"]
    capsys.readouterr()
    assert main([*words, "--split", "0.25"]) == 0  # with a head of the data's size, which train gave it
    with (flat / "p.csv").open() as file:
        assert {row["image"] for row in csv.DictReader(file)} == {expected.name(index) for index in range(4)}
    assert main(words) == 2
    assert "was trained on a part of imagefolder:flat: --split 0.25 evaluates it on" in capsys.readouterr().err
    (flat / "copy").symlink_to(flat / "flat")
    assert main([word.replace(":flat", ":copy") for word in words]) == 2
    assert main([*words, "--split", "0.5"]) == 2
    assert "small.py:small was trained with --split 0.25" in capsys.readouterr().err
    Pillow.new("RGB", (16, 16)).save(flat / "flat" / "dark" / "0a.png")
    assert main([*words, "--split", "0.25"]) == 2
    assert "whose images are not those of imagefolder:flat now" in capsys.readouterr().err


def test_training_images_are_refused_by_whatever_name(flat, capsys):
    for split in ("train", "val"):
        for name in ("dark", "light"):
            for index in range(4):
                path = flat / "img" / split / name / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                shade = 20 + 100 * (name == "light") + 10 * index + 5 * (split == "val")
                Pillow.fromarray(np.full((16, 16, 3), shade, np.uint8)).save(path)
    words = ["train", "small.py:small", "--data", "imagefolder:img", "--resolution", "16", "--epochs", "1"]
    assert main([*words, "--batch-size", "4", "--seeds", "1", "--weights-format", ".pth", "--write-weights", "w"]) == 0
    (weights,) = (flat / "w").glob("*.pth")
    shutil.copytree(flat / "img" / "train", flat / "copy")
    words = ["evaluate", "small.py:small", "--weights", str(weights), "--resolution", "16", "--data"]
    for data in ("img", "img/val"):
        assert main([*words, f"imagefolder:{data}"]) == 0
    capsys.readouterr()
    for data in ("img/train", "copy"):
        assert main([*words, f"imagefolder:{data}"]) == 2
        assert f"small.py:small was trained on images of imagefolder:{data} (8 of 8 " in capsys.readouterr().err


def test_an_unknown_or_another_split_is_refused(flat, capsys):
    first = trained(flat, ".pth", "--split", "0.25", seed="1")
    second = trained(flat, ".pth", "--split", "0.25", seed="2", network="small.py:other")
    words = ["evaluate", "small.py:small", "small.py:other", "--data", "imagefolder:flat", "--resolution", "16"]
    words += ["--split", "0.25", "--weights", f"small.py:small={first}", "--weights", f"small.py:other={second}"]
    capsys.readouterr()
    assert main(words) == 2
    assert "(small.py:small with seed 1, small.py:other with seed 2): evaluate them" in capsys.readouterr().err
    (second.parent / f"{second.name}.json").unlink()
    assert main(words) == 2
    assert "does not say which images small.py:other was trained on" in capsys.readouterr().err


def test_weights_for_other_classes_are_refused(flat, capsys):
    pytest.importorskip("safetensors")
    weights = trained(flat, ".safetensors", "--split", "0.25")
    for old, new in (("dark", "ant"), ("light", "bee")):
        (flat / "flat" / old).rename(flat / "flat" / new)
    (flat / "both").mkdir()
    for split in ("train", "val"):
        (flat / "both" / split).symlink_to(flat / "flat")
    words = ["evaluate", "small.py:small", "--weights", str(weights), "--data", "imagefolder:both"]
    capsys.readouterr()
    assert main([*words, "--resolution", "16"]) == 2
    assert "was trained for dark, light; the classes of imagefolder:both are ant, bee" in capsys.readouterr().err


def test_classes_and_their_confusions(folder, capsys):
    command = ["evaluate", "net.py:bright", "--data", "imagefolder:data/val", "--resolution", "32", "--by-class"]
    assert main([*command, "--plot", "confusion.png", "--format", "json"]) == 0
    network, dark, light = json.loads(capsys.readouterr().out)["rows"]
    assert (network["kind"], network["test_images"]) == ("network", 16)
    assert [(row["class"], row["images"], row["accuracy"]) for row in (dark, light)] == [
        ("dark", 8, 87.5),
        ("light", 8, 87.5),
    ]
    assert (dark["taken_for"], dark["taken_for_images"], light["taken_for"]) == ("light", 1, "dark")
    assert (folder / "confusion.png").exists()
    assert main(command) == 0
    assert "most often taken for  times" in capsys.readouterr().out
    assert main([*command, "--pairs", "pairs.txt"]) == 2
    assert "the task is classification, not verification: leave --pairs out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("map.csv", "class,output\nlight,4\ndark,0\n"),
        ("map.json", '{"light": 4, "dark": 0}'),
        ("map.json", '{"4": ["n02", "light"], "0": ["n01", "dark"], "1": ["n03", "crane"], "2": ["n04", "crane"]}'),
    ],
)
def test_classes_are_outputs_of_a_larger_head(folder, name, content, capsys):
    (folder / "net.py").write_text(NET.replace("[-mean, mean, *[mean * 0 - 9] *", "[-mean, *[mean * 0 - 9] *").replace(
        "(self.outputs - 2)]", "(self.outputs - 2), mean]"))  # fmt: skip
    (folder / name).write_text(content)
    command = ["evaluate", "net.py:bright[outputs=5]", *DATA]
    assert main(command) == 2
    assert "5 outputs, imagefolder:data 2 classes" in capsys.readouterr().err
    assert main([*command, "--class-map", name, "--predictions", "p.csv", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["rows"][0]["top1"] == 87.5
    assert (
        "Images that are not 32×32: the centre of 0.875 of the shorter side resized to 32×32, bicubic."
        in document["notes"]
    )
    assert any("2 of the head's 5 outputs are classes of the data" in note for note in document["notes"])
    with (folder / "p.csv").open() as file:
        assert {row["label"] for row in csv.DictReader(file)} == {"dark", "light"}


def test_outputs_are_not_taken_for_classes_that_are_called_by_their_numbers(folder, capsys):
    (folder / "net.py").write_text(
        NET.replace("[-mean, mean, *", "[-mean * 0 - 9, -mean, mean, *").replace("- 2)", "- 3)")
    )
    for split in ("train", "val"):
        (folder / "data" / split / "dark").rename(folder / "data" / split / "2")  # the number of the other's output
        (folder / "data" / split / "light").rename(folder / "data" / split / "0")
    (folder / "map.csv").write_text("2,1\n0,3\n")
    command = [
        "evaluate",
        "net.py:bright[outputs=5]",
        *DATA,
        "--class-map",
        "map.csv",
        "--by-class",
        "--format",
        "json",
    ]
    assert main(command) == 0
    network, *classes = json.loads(capsys.readouterr().out)["rows"]
    assert network["top1"] < 50  # bright images are taken for output 2, which is no class
    by_name = {row["class"]: row for row in classes}
    assert by_name["0"]["accuracy"] == 0
    assert (by_name["0"]["taken_for"], by_name["0"]["taken_for_images"]) == ("output 2", 7)


def test_classes_of_one_output_are_named_together(folder, capsys):
    (folder / "map.csv").write_text("dark,1\nlight,1\n")
    assert main(["evaluate", "net.py:bright", *DATA, "--class-map", "map.csv", "--by-class", "--format", "json"]) == 0
    network, *classes = json.loads(capsys.readouterr().out)["rows"]
    assert [(row["class"], row["images"], row["taken_for"]) for row in classes] == [("dark / light", 16, "output 0")]
    assert classes[0]["accuracy"] == network["top1"]


def test_a_name_that_several_outputs_share_belongs_to_none(tmp_path):
    path = tmp_path / "class_index.json"
    path.write_text('{"134": ["n02012849", "crane"], "517": ["n03126707", "crane"], "0": ["n01440764", "tench"]}')
    assert class_maps.read(path) == {"n02012849": 134, "n03126707": 517, "n01440764": 0, "tench": 0}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("light,1\n", "--class-map has no output for dark of imagefolder:data"),
        ("light,1\ndark,2\n", "output 2 of dark is outside 0 to 1 of the network"),
        ("light,1\nlight,0\ndark,0\n", "light has two outputs, 1 and 0"),
        ("light 1\ndark 0\n", "is not a class map: lines of a class and a number"),
        ("", "--class-map has no output for dark, light"),
    ],
)
def test_a_class_map_that_does_not_fit_is_said(folder, content, message, capsys):
    (folder / "map.csv").write_text(content)
    command = ["evaluate", "net.py:bright", *DATA]
    assert main([*command, "--class-map", "map.csv"]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in error


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (("b_0002.png", "b_0004.png"), {2: 0, 4: 1}),
        (("b_0002.png", "b_portrait.png", "c.png"), {1: 0, 2: 1, 3: 2}),
        (("b_0001.jpg", "b_1.png", "b_3.png"), {3: 2}),
    ],
)
def test_images_are_numbered_by_their_names_or_all_by_their_places(names, numbers):
    sources = SimpleNamespace(source=lambda index: (b"", names[index]))
    test = Encoded(sources, np.arange(len(names)), np.zeros((len(names), 1), dtype=np.int64))
    data = Data("d", (Task("", ("b",)),), test, test)
    assert outputs._numbered_images(data) == {("b", number): index for number, index in numbers.items()}


def test_pairs_of_lfw_and_mirrored_embeddings(folder, capsys):
    random = np.random.default_rng(0)
    for name in ("Ann_Lee", "Bob", "Cy"):
        base = random.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        for number in (1, 2, 3):
            path = folder / "lfw" / name / f"{name}_{number:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Pillow.fromarray(base[:, ::-1] if number == 2 else base).save(path)
    genuine = ["Ann_Lee 1 3", "Bob 1 2"]
    impostors = ["Ann_Lee 1 Bob 1", "Bob 2 Cy 2"]
    (folder / "pairs.txt").write_text("\n".join(["1 2", *genuine, *impostors]))
    command = ["evaluate", "net.py:embedding", "--data", "imagefolder:lfw", "--task", "verification"]
    command += ["--far", "0.9", "--predictions", "p.csv", "--pairs", "pairs.txt"]
    assert main([*command, "--resolution", "16"]) == 2
    assert "net.py:embedding: it does not take an image of 3×16×16: RuntimeError" in capsys.readouterr().err
    command += ["--resolution", "64"]
    assert main(command) == 2
    assert "1 folds of 2 × 2 pairs: two are needed" in capsys.readouterr().err
    (folder / "pairs.txt").write_text("\n".join(["2 2", *genuine, *impostors, *genuine, *impostors]))
    assert main(command) == 2
    assert "needs more than 4 impostor pairs" in capsys.readouterr().err
    scores = []
    lines = [*genuine * 10, *impostors * 10]
    (folder / "pairs.txt").write_text("\n".join(["2 20", *lines, *lines]))
    for words in ([], ["--flip"]):
        assert main([*command, *words]) == 0
        with (folder / "p.csv").open() as file:
            scores.append([float(row["net.py:embedding"]) for row in csv.DictReader(file)][:2])
    assert [score[0] for score in scores] == pytest.approx([1, 1])
    assert scores[0][1] < 0.999  # an image and its mirror image
    assert scores[1][1] == pytest.approx(1)
    (folder / "pairs.txt").write_text("2 1\nDee 1 2\nBob 1 Cy 1\nBob 1 2\nBob 1 Cy 1")
    assert main(command) == 2
    assert "pairs.txt, line 2: no such images: Dee 1 2" in capsys.readouterr().err
    for kind in (genuine, impostors):
        (folder / "pairs.txt").write_text("\n".join(["2 1", *kind, *kind]))
        assert main(command) == 2
        assert f"fold 1: {2 * (kind is genuine)} of 2 pairs are of one identity, not 1" in capsys.readouterr().err
