"""Comparisons: every column is the measurement of its own command, every change is against the baseline."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest

from scsc_lab import count
from scsc_lab.cli import main
from scsc_lab.experiments import compare, runner
from scsc_lab.networks.network import Network
from scsc_lab.report import comparison
from scsc_lab.settings import Fields, Settings, Timing

ALL = ("params", "macs", "activations", "bytes", "latency", "erf", "top1")
SMALL = Settings(timing=Timing(8, 0.0, 60.0, warm_up_seconds=0.0), fields=Fields(samples=2, seeds=1))


@pytest.fixture(scope="module")
def measured():
    values = {"resnet18": {"mIoU": 30.0}, "resnet34": {"mIoU": 31.5}}
    names = ("resnet18", "resnet34", "scsc_resnet_pico")
    networks = [replace(Network.read(name), resolution=(32, 32)) for name in names]
    experiment = compare.experiment(networks, ALL, SMALL, baseline=1, values=values)
    return runner.run([experiment]).results[0]


@pytest.fixture(scope="module")
def rows(measured):
    return measured.rows


def test_counts_are_those_of_flops(rows):
    for row in rows:
        counted = count(row["model"], 32)
        assert (row["params"], row["macs"], row["activations"]) == (counted.params, counted.macs, counted.activations)
        assert row["baseline"] == "resnet34"


def test_changes_are_against_the_baseline(rows):
    first, baseline, third = rows
    assert first["macs_change"] == first["macs"] / baseline["macs"] - 1
    assert first["r50_difference"] == first["r50"] - baseline["r50"]
    assert first["published_top1"] is None  # published at another input size
    assert first["change_of_user:mIoU"] == pytest.approx(-1.5)
    assert baseline["macs_change"] is None
    assert baseline["ratio"] is None
    assert third["published_top1"] is None
    assert "user:mIoU" not in third
    for row in (first, third):
        assert row["ratio_low"] <= row["ratio"] <= row["ratio_high"]
        assert row["verdict"] in ("faster", "slower", "same", "inconclusive", "withheld")


def test_what_is_published_has_its_source_and_is_not_called_measured(rows, measured):
    notes = " ".join(comparison.comparison_table(rows, measured.columns, measured.notes).details[0].notes)
    assert "Yours: mIoU, from the file given." in notes
    names = ("resnet18", "resnet34", "resnet18[depths=1,1,1,1]", "resnet18 + SCSC", "resnet18 (deploy)")
    experiment = compare.experiment(list(map(Network.read, names)), ("top1",), baseline=1)
    result = runner.run([experiment]).results[0]
    assert "as published, not measured here: resnet18 torchvision" in " ".join(result.notes)
    first, _, changed, transplanted, deployed = result.rows
    assert first["published_source"].startswith("torchvision")
    assert first["published_top1_change"] == pytest.approx(69.758 - 73.314)
    assert changed["published_top1"] is None  # another network than the published one
    assert transplanted["published_top1"] is None
    assert deployed["published_top1"] == 69.758  # the same function


def test_the_command_prints_numbers_and_changes_within_80_columns(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.csv").write_text("model,metric,value\nswin,mIoU,44.5\nscsc_swin,mIoU,45\n")
    arguments = ["compare", "swin", "scsc_swin", "--with", "params,macs,activations,top1", "--accuracy", "my.csv"]
    assert main([*arguments, "--plot", "macs,mIoU"]) == 0
    captured = capsys.readouterr()
    assert max(map(len, captured.out.splitlines())) <= 80
    assert "Change against swin_tiny" in captured.out
    assert "−26.4%" in captured.out
    assert "+0.5" in captured.out
    assert captured.err == "figure: compare_macs_mIoU.png\n"
    assert (tmp_path / "compare_macs_mIoU.png").read_bytes().startswith(b"\x89PNG")
    assert main([*arguments, "--format", "json"]) == 0
    row = json.loads(capsys.readouterr().out)["rows"][1]
    assert (row["macs"], row["change_of_user:mIoU"]) == (3304838144, 0.5)


def test_side_by_side_in_csv_sums(capsys):
    assert main(["compare", "swin", "scsc_swin", "--by", "module", "--format", "csv"]) == 0
    *rows, total = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert total["name"] == "total"
    assert sum(int(row["macs_difference"]) for row in rows) == int(total["macs_difference"]) == 3304838144 - 4490566656
