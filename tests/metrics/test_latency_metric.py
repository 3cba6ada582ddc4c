"""Networks meet the clock: what is counted stands beside what is timed, in the rows of every command."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from torch import nn

import scsc_lab
from scsc_lab import InputError
from scsc_lab.metrics import latency
from scsc_lab.networks.network import Network
from scsc_lab.settings import Execution, Settings, Timing

QUICK = Settings(Execution("cpu"), Timing(2, 0.0, 60.0, warm_up_seconds=0.0))
SMALL = replace(Network.read("scsc_swin_pico[depths=1,1,1,1]"), resolution=(32, 32))


def test_equal_networks_are_one_module(monkeypatch):
    from scsc_lab.models import build

    built, original = [], build.build
    monkeypatch.setattr(build, "build", lambda network: built.append(network) or original(network))
    found = latency.timings([SMALL, replace(SMALL, label="again")], QUICK)
    assert [timing.model for timing in found] == [str(SMALL), "again"]
    assert built == [SMALL]


class Staged(nn.Module):
    """A network whose stages are a list that is never called itself."""

    def __init__(self):
        super().__init__()
        widths = (16, 32, 64)
        self.stem = nn.Conv2d(3, widths[0], 3, padding=1)
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(b, b, 3, padding=1))
            for a, b in zip((widths[0], *widths), widths, strict=False)
        )

    def forward(self, x):
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return x


def test_the_stages_of_a_module_list_explain_its_time():
    network = Network("Staged", module=Staged(), resolution=(64, 64))
    [found] = latency.breakdowns([network], replace(QUICK, timing=Timing(24, 0.0, 60.0)), "stage")
    shares = {row["name"]: row["time_share"] for row in found.rows()}
    assert {"stage1", "stage2", "stage3", "unexplained", "total"} <= set(shares)
    assert abs(shares["unexplained"]) < 0.3  # 0.95 before; about 0.03 on a quiet machine


def test_rows_of_the_metric_are_tidy_and_become_one_row_per_network():
    settings = latency.configure(replace(QUICK, timing=replace(QUICK.timing, pairs=6)))
    rows = latency.measure([SMALL, replace(SMALL, form="deploy")], settings, print)
    assert [row["runtime"] for row in rows] == ["torch", "torch"]
    assert rows[1]["ratio_low"] <= rows[1]["ratio"] <= rows[1]["ratio_high"]
    for row in rows:
        whole = latency.METRIC.join([row])
        assert whole["latency_status"] == "complete"
        for key in ("processor", "cores", "load_before", "load_after", "spread", "drift", "outliers"):
            assert whole[key] is not None
        assert (whole["memory_format_asked"], len(whole["samples_seconds"])) == ("auto", 6)
    json.dumps(rows, allow_nan=False)
    elsewhere = {**rows[1], "runtime": "onnxruntime", "status": "out of memory", "torch_ratio": 0.5}
    both = latency.METRIC.join([rows[0], elsewhere])
    assert both["median_seconds"] == rows[0]["median_seconds"]
    assert both["onnxruntime_ratio"] == rows[1]["ratio"]
    assert (both["onnxruntime_torch_ratio"], both["latency_status"]) == (0.5, "out of memory")


def test_notes_say_which_run_channels_last_and_which_have_too_few_pairs():
    row = {
        "model": "a", "latency_status": "complete", "batch": 1, "dtype": "float32", "threads": 1, "device_name": "CPU",
        "spread": 1.1, "load": 0.5, "cores": 2, "memory_format": "channels_last",
    }  # fmt: skip
    assert "Channels-last layout, the faster one, for all." in latency.notes([row])
    apart = {**row, "model": "b", "memory_format": "contiguous"}
    third = {**row, "model": "c"}
    assert "for all except b." in " ".join(latency.notes([row, third, apart]))
    few = {**row, "ratio": 1.1, "samples_seconds": [0.1, 0.2, 0.3]}
    assert "No interval: a (3 pairs, 6 needed)." in latency.notes([few])
    assert latency.notes([{"model": "a"}]) == []
    other = {**row, "batch": 4, "dtype": "bfloat16", "threads": 2}
    assert "batch 1 and 4, float32 and bfloat16, threads: 1 and 2, CPU;" in latency.notes([row, other, row])[0]


@pytest.mark.parametrize(
    ("differences", "says"),
    [
        ((1e-6, 2e-6), "Outputs were compared with torch's: equal within 2e-06"),
        ((1e-6, None), "1 of 2 outputs were"),
        ((None, None), ""),
    ],
)
def test_outputs_agree_only_where_they_were_compared(differences, says):
    row = {"latency_status": "complete", "batch": 1, "dtype": "float32", "threads": 1, "device_name": "CPU", "cores": 2}
    row |= {"runtimes": ["torch", "onnxruntime"], "median_seconds": 1.0, "onnxruntime_median_seconds": 0.5}
    rows = [{**row, "model": str(at), "onnxruntime_output_difference": value} for at, value in enumerate(differences)]
    (note,) = [note for note in latency.notes(rows) if note.startswith("Other runtimes")]
    assert says in note
    assert bool(says) == ("compared with torch" in note)


def test_medians_that_are_not_of_the_baselines_pairs_are_said_to_be():
    how = {"latency_status": "complete", "batch": 1, "dtype": "float32", "threads": 1, "device_name": "CPU"}
    how |= {"spread": 1.1, "load": 0.5, "cores": 2, "memory_format": "contiguous", "resolution": [64, 64]}
    rows = [{**how, "model": "a", "median_seconds": 1.0}]
    rows += [
        {**how, "model": name, "baseline": "a", "median_seconds": 1.0, "ratio": ratio}
        for name, ratio in (("same run", 1.02), ("another", 0.77))
    ]
    (said,) = [note for note in latency.notes(rows) if "compare ratios only" in note]
    assert said.endswith(": another.")
    assert not [note for note in latency.notes(rows[:2]) if "compare ratios only" in note]


def test_the_python_interface_takes_names_and_modules():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1)).train()
    found = scsc_lab.latency(net, "resnet18", resolution=32, pairs=2, min_seconds=0.0, max_seconds=0.5, device="cpu")
    assert [timing.model for timing in found] == ["Sequential", "resnet18"]
    assert found[1].comparison.ratio > 1
    assert [timing.resolution for timing in found] == [(32, 32), (32, 32)]
    assert net.training
    with pytest.raises(InputError, match="at least one model"):
        scsc_lab.latency()
    with pytest.raises(InputError, match="needs a resolution"):
        scsc_lab.latency(net)
    with pytest.raises(InputError, match="baseline 1"):
        scsc_lab.latency(net, resolution=32, baseline=1)
