"""The runner: any network by any metric, in other processes, kept by content; one place for interrupts."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

import scsc_lab
from scsc_lab import InputError
from scsc_lab.cli import main
from scsc_lab.experiments import compare, runner
from scsc_lab.experiments import experiment as experiments
from scsc_lab.experiments.compare import comparison
from scsc_lab.experiments.experiment import Measure
from scsc_lab.experiments.variants import Variant
from scsc_lab.networks.network import Network
from scsc_lab.settings import Settings
from scsc_lab.store import Store

NET = """
from torch import nn


class Net(nn.Module):
    def __init__(self, width=8, depth=2):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 4, 4)
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 7, padding=3, groups=width), nn.BatchNorm2d(width), nn.ReLU())
            for _ in range(depth)
        )
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        x = self.stem(x)
        for stage in self.stages:
            x = x + stage(x)
        return self.head(x.mean((2, 3)))
"""


@pytest.fixture
def net(tmp_path, monkeypatch):
    (tmp_path / "net.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_transplant_of_a_files_factory_is_ablated_over_two_processes(net, capsys):
    grid = ["--transplant", "--grid", "rule.kernels=3,5;3,7,11", "--resolution", "64", "--no-draw"]
    command = ["ablate", "net.py:Net", *grid, "--store", "rows.db", "--format", "json"]
    assert main([*command, "--jobs", "2"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["variant"] for row in rows] == ["full", "rule.kernels=3,5", "rule.kernels=3,7,11"]
    assert rows[0]["model"] == "net.py:Net + SCSC"
    assert rows[1]["model"] == "net.py:Net + SCSC[kernels=3,5]"
    assert len({row["macs"] for row in rows}) == 3
    assert main(command) == 0
    again = capsys.readouterr()
    assert "3 of 3 measurements are stored" in again.err
    assert json.loads(again.out)["rows"] == rows
    (net / "net.py").write_text(NET.replace("nn.ReLU()", "nn.GELU()"))
    assert main(command) == 0
    assert "0 of 3 measurements are stored" in capsys.readouterr().err  # another file is another network


def test_timm_is_ablated_with_and_without_a_transplant():
    pytest.importorskip("timm")
    table = scsc_lab.ablate("timm:resnet18", {"num_classes": [10, 100]}, metrics=["params"], resolution=64)
    assert table["params"].tolist()[1:] == [11181642, 11227812]
    table = scsc_lab.ablate("timm:resnet18 + SCSC", studies=["groups"], metrics=["macs"], resolution=64)
    assert list(table["variant"]) == ["full", "groups=1", "groups=2", "groups=4", "groups=8", "groups=16"]
    assert table.loc[3, "macs"] == table.loc[0, "macs"]


def test_networks_compared_become_a_frame(net):
    table = scsc_lab.compare("resnet18", "resnet34", metrics=["params", "macs"])
    assert list(table["model"]) == ["resnet18", "resnet34"]
    assert table.loc[1, "macs_change"] == 3663761408 / 1814073344 - 1
    from torch import nn

    one, two = nn.Sequential(nn.Conv2d(3, 4, 3)), nn.Sequential(nn.Conv2d(3, 8, 3))
    modules = scsc_lab.compare(one, two, metrics=["params"], resolution=8)
    assert list(modules["model"]) == ["Sequential 1", "Sequential 2"]
    assert list(modules["params"]) == [112, 224]


def counting(*networks: Network):
    return compare.experiment(networks, ["macs"], Settings())


def test_a_module_in_hand_is_measured_and_not_kept(tmp_path):
    from torch import nn

    experiment = counting(scsc_lab.network(nn.Conv2d(3, 4, 3), 8))
    (result,) = runner.run([experiment]).results
    assert result.rows[0]["macs"] == 3 * 4 * 9 * 36
    with pytest.raises(InputError, match="only a named network can be stored"):
        runner.run([experiment], Store(tmp_path / "rows.db"))


def test_equal_networks_of_other_names_are_measured_once(tmp_path):
    networks = [Network.read(name) for name in ("scsc_swin", "scsc_swin[groups=4]", "scsc_swin_t[groups=8]")]
    store = Store(tmp_path / "rows.db")
    one, two, three = runner.run([counting(*networks)], store).results[0].rows
    assert len(store.keys()) == 2
    assert one["macs"] == two["macs"] != three["macs"]


def test_a_measurement_says_at_which_commit_it_was_made_and_its_key_does_not(tmp_path, monkeypatch):
    store = Store(tmp_path / "rows.db")
    for commit in ("one", "two"):
        monkeypatch.setattr(experiments, "commit", lambda commit=commit: commit)
        (result,) = runner.run([counting(Network.read("faceresnet"))], store).results
        assert "commit" not in result.rows[0]
    assert [measurement["commit"] for measurement in store.measurements().values()] == ["one"]
    monkeypatch.setattr(experiments, "versions", lambda: {"scsc-lab": "another"})
    runner.run([counting(Network.read("faceresnet"))], store)
    assert [measurement["commit"] for measurement in store.measurements().values()] == ["one", "two"]


def test_an_experiment_is_in_the_store_before_anything_is_measured(tmp_path, monkeypatch):
    store = Store(tmp_path / "rows.db")
    monkeypatch.setattr(runner, "_measure", lambda *args: ({}, False))
    runner.run([counting(Network.read("resnet18"), Network.read("resnet34"))], store)
    ((experiment, arms, uses),) = Store(store.path).experiments()
    assert (experiment["kind"], experiment["columns"], experiment["metrics"]) == ("comparison", ["macs"], ["size"])
    assert [(arm["label"], arm["baseline"]) for arm in arms] == [("resnet18", None), ("resnet34", 0)]
    assert len(uses) == 2
    assert Store(store.path).keys() == set()


def test_a_variant_is_measured_beside_its_baseline_and_a_baseline_by_itself():
    full, other = Network.read("resnet18"), Network.of("resnet18", {"outputs": 10})
    names = (("full", full), ("same", full), ("outputs=10", other))
    variants = [Variant("one", name, network) for name, network in names]
    experiment = replace(compare.ablation(variants, ["macs"], Settings()), measures=(Measure("latency", Settings()),))
    uses = [(use.arm, use.task.networks, use.position) for use in experiment.uses()]
    assert uses == [(0, (full,), 0), (1, (full,), 0), (2, (full, other), 1)]


def test_a_grid_of_rules_and_arguments_has_every_combination():
    pytest.importorskip("timm")
    network = "timm:convnext_tiny[depths=1,1,1,1 dims=8,16,32,64] + SCSC"
    grid = {"rule.kernels": [(3, 5), (3, 7, 11)], "drop_path_rate": [0, 0.1]}
    table = scsc_lab.ablate(network, grid, metrics=["params", "macs"], resolution=64)
    combinations = [(f"rule.kernels={side}", rate) for side in ("3,5", "3,7,11") for rate in ("0", "0.1")]
    assert list(table["variant"])[1:] == [f"{kernel} drop_path_rate={rate}" for kernel, rate in combinations]
    assert table["macs"].nunique() == 3  # a rate changes what is trained, not what is computed


def test_the_catalog_is_listed():
    assert "scsc_swin_tiny" in scsc_lab.list_models()
    assert scsc_lab.list_models("faceresnet")[:2] == ["faceresnet", "scsc_faceresnet"]
    with pytest.raises(InputError, match="unknown family"):
        scsc_lab.list_models("vgg")


def test_of_equal_networks_side_by_side_each_has_its_own_row():
    first = Network.read("resnet18")
    again = replace(first, label="again")
    experiment = comparison([first, again], ["latency"], [Measure("latency", Settings())], kind="noise")
    assert [(use.arm, use.position) for use in experiment.uses()] == [(0, 0), (1, 1)]
    assert len({use.task for use in experiment.uses()}) == 1


def test_one_text_is_no_list_of_values_and_one_metric_is_a_list_of_one(net):
    with pytest.raises(InputError, match="a list of values for width"):
        scsc_lab.ablate("net.py:Net", {"width": "8,16"}, metrics="params", resolution=64)
    assert len(scsc_lab.ablate("net.py:Net", {"width": [16]}, metrics="params", resolution=64)) == 2
