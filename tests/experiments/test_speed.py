"""Networks meet the clock: what is counted stands beside what is timed."""

from __future__ import annotations

import math

import pytest
from torch import nn

import scsc_lab
from scsc_lab import InputError
from scsc_lab.experiments import speed
from scsc_lab.models.subject import Subject, deployed, subjects
from scsc_lab.settings import Budget, Execution, Plan

QUICK = Plan(Execution("cpu"), Budget(2, 0.0, 60.0), resolution=(64, 64), warm_up_seconds=0.0)


def test_the_deploy_form_counts_the_same():
    [named] = subjects(["scsc_swin_tiny[depths=1,1,1,1]"])
    found = speed.measure([named, deployed(named)], QUICK)
    assert found[1].macs_ratio == 1.0
    row = found[1].row()
    assert (row["form"], row["ordinary"], row["macs_change"]) == ("deploy", named.label, 0.0)


def test_a_network_without_a_deploy_form_says_so():
    [swin] = subjects(["swin_tiny"])
    with pytest.raises(InputError, match=r"swin_tiny: .* has no deploy form"):
        deployed(swin)


def test_parts_of_a_real_network_sum_up():
    [named] = subjects(["scsc_swin_tiny[depths=1,1,1,1]"])
    for by, some in (("stage", "stage3"), ("module", "layers.2")):
        [found] = speed.broken_down([named], QUICK, by)
        rows = {row["name"]: row for row in found.rows()}
        assert rows[some]["median_seconds"] > 0
        own = [row for name, row in rows.items() if name != "total"]
        assert math.fsum(row["median_seconds"] for row in own) == pytest.approx(rows["total"]["median_seconds"])
        assert sum(row["macs"] for row in own) == rows["total"]["macs"]
        assert math.fsum(row["macs_share"] for row in own) == pytest.approx(1)


def test_the_stages_of_a_module_list_explain_its_time():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stages = nn.ModuleList(nn.Conv2d(32, 32, 3, padding=1) for _ in range(8))

        def forward(self, x):
            for stage in self.stages:
                x = stage(x)
            return x

    net = Subject("net", (32, 32), Net, lambda device: Net().to(device), channels=32)
    plan = Plan(Execution("cpu"), Budget(24, 0.0, 60.0), warm_up_seconds=0.0)
    [found] = speed.broken_down([net], plan, "stage")
    shares = {row["name"]: row["time_share"] for row in found.rows()}
    assert abs(shares["unexplained"]) < 0.5  # 0.95 before; about 0.02 on a quiet machine


def test_the_python_interface_takes_names_and_modules():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1)).train()
    found = scsc_lab.latency(net, "resnet18", resolution=32, pairs=2, min_seconds=0.0, max_seconds=0.5, device="cpu")
    assert [timing.model for timing in found] == ["Sequential", "resnet18"]
    assert found[1].comparison.ratio > 1
    assert net.training
    with pytest.raises(InputError, match="at least one model"):
        scsc_lab.latency()
    with pytest.raises(InputError, match="needs a resolution"):
        scsc_lab.latency(net)
    with pytest.raises(InputError, match="baseline 1"):
        scsc_lab.latency(net, resolution=32, baseline=1)
