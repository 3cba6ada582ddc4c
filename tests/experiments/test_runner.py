"""The runner: any network by any metric, in other processes, kept by content; one place for interrupts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import scsc_lab
from scsc_lab import InputError, metrics
from scsc_lab.architectures.network import Network
from scsc_lab.experiments import kept, runner
from scsc_lab.settings import Request
from scsc_lab.store import RowStore

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


def ablate(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scsc_lab", "ablate", *arguments, "--no-draw"]
    return subprocess.run(command, capture_output=True, text=True, env=env)


def test_a_transplant_of_a_files_factory_is_ablated_over_two_processes(net):
    grid = ["--transplant", "--grid", "rule.kernels=3,5;3,7,11", "--jobs", "2", "--resolution", "64"]
    done = ablate("net.py:Net", *grid, "--store", "rows.jsonl", "--format", "json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert [row["variant"] for row in rows] == ["full", "rule.kernels=3,5", "rule.kernels=3,7,11"]
    assert rows[0]["model"] == "net.py:Net + SCSC"
    assert rows[1]["model"] == "net.py:Net + SCSC[kernels=3,5]"
    assert len({row["macs"] for row in rows}) == 3
    again = ablate("net.py:Net", *grid, "--store", "rows.jsonl", "--format", "json")
    assert "3 of 3 measurements are there already" in again.stderr
    assert json.loads(again.stdout)["rows"] == rows
    (net / "net.py").write_text(NET.replace("nn.ReLU()", "nn.GELU()"))
    changed = ablate("net.py:Net", *grid, "--store", "rows.jsonl", "--format", "json")
    assert "0 of 3 measurements are there already" in changed.stderr  # another file is another network


def test_arguments_of_a_factory_are_a_grid(net):
    table = scsc_lab.ablate("net.py:Net", {"width": [8, 16], "depth": [1, 3]}, metrics=["params"], resolution=64)
    assert list(table["variant"])[:3] == ["full", "width=8 depth=1", "width=8 depth=3"]
    assert table["params"].nunique() == 5
    assert table.loc[1, "params_change"] == table.loc[1, "params"] / table.loc[0, "params"] - 1


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


def test_a_module_in_hand_is_measured_and_not_kept(tmp_path):
    from torch import nn

    network = scsc_lab.network(nn.Conv2d(3, 4, 3), 8)
    (task,) = runner.tasks(metrics.chosen(["macs"]), [network], Request())
    assert runner.run([task]).rows[task][0]["macs"] == 3 * 4 * 9 * 36
    with pytest.raises(InputError, match="only a network with a name can be kept"):
        runner.run([task], RowStore(tmp_path / "rows.jsonl"))


def test_equal_networks_of_other_names_are_measured_once(tmp_path):
    networks = [Network.read(name) for name in ("scsc_swin", "scsc_swin[groups=4]", "scsc_swin_t[groups=8]")]
    store = RowStore(tmp_path / "rows.jsonl")
    tasks = runner.tasks(metrics.chosen(["macs"]), networks, Request())
    measured = runner.run(tasks, store)
    assert len(store.rows) == 2
    assert measured.rows[tasks[0]] == measured.rows[tasks[1]] != measured.rows[tasks[2]]


def test_a_row_says_at_which_commit_it_was_measured_and_its_key_does_not(tmp_path, monkeypatch):
    store = RowStore(tmp_path / "rows.jsonl")
    for commit in ("one", "two"):
        monkeypatch.setattr(runner, "commit", lambda commit=commit: commit)
        (task,) = runner.tasks(metrics.chosen(["macs"]), [Network.read("faceresnet")], Request())
        assert "commit" not in runner.run([task], store).rows[task][0]
    assert [row["commit"] for row in store.rows] == ["one"]
    monkeypatch.setattr(runner, "_versions", lambda: {"scsc-lab": "another"})
    (task,) = runner.tasks(metrics.chosen(["macs"]), [Network.read("faceresnet")], Request())
    runner.run([task], store)
    assert [row["commit"] for row in store.rows] == ["one", "two"]


def test_convnext_is_ablated_with_a_transplant_over_two_processes(net):
    pytest.importorskip("timm")
    (net / "sitecustomize.py").write_text("import conftest\n")  # every process imports torchvision as the tests do
    paths = [str(net), str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    small = "timm:convnext_tiny[depths=1,1,1,1 dims=8,16,32,64]"
    words = [
        "--transplant",
        "--grid",
        "rule.kernels=3,5;3,7,11",
        "--grid",
        "drop_path_rate=0,0.1",
        "--resolution",
        "64",
    ]
    more = ["--with", "params,macs", "--jobs", "2", "--format", "json"]
    done = ablate(small, *words, *more, env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)})
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    kernels = ("rule.kernels=3,5", "rule.kernels=3,7,11")
    assert {row["variant"] for row in rows[1:]} == {
        f"{k} drop_path_rate={rate}" for k in kernels for rate in ("0", "0.1")
    }
    assert len({row["macs"] for row in rows}) == 3  # a rate changes what is trained, not what is computed


def test_the_catalog_is_listed():
    assert "scsc_swin_tiny" in scsc_lab.list_models()
    assert scsc_lab.list_models("faceresnet")[:2] == ["faceresnet", "scsc_faceresnet"]
    with pytest.raises(InputError, match="unknown family"):
        scsc_lab.list_models("vgg")


def test_of_equal_networks_side_by_side_each_has_its_own_row(monkeypatch):
    one = Network.read("resnet18")
    two = replace(one, label="again")
    task = runner.Task("latency", (one, two), None)
    rows = runner.merged({task: [{"ratio": None}, {"ratio": 1.01}]}, [two, one], Request())
    assert [row["ratio"] for row in rows] == [1.01, None]
    task = runner.Task("size", (one,), None)  # measured once, and true of both
    assert [row["params"] for row in runner.merged({task: [{"params": 7}]}, [two, one], Request())] == [7, 7]


def test_rows_with_strange_places_are_none_of_a_task(tmp_path):
    rows = [
        {"key": "a", "metric": "size", "position": "x", "of": 1},
        {"key": "b", "metric": "size", "position": 3, "of": 1},
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert kept.stored(RowStore(tmp_path / "rows.jsonl")) == {}


def test_one_text_is_no_list_of_values_and_one_metric_is_a_list_of_one(net):
    with pytest.raises(InputError, match="a list of values for width"):
        scsc_lab.ablate("net.py:Net", {"width": "8,16"}, metrics="params", resolution=64)
    assert len(scsc_lab.ablate("net.py:Net", {"width": [16]}, metrics="params", resolution=64)) == 2


def test_a_store_is_looked_through_once_however_many_tasks_there_are(tmp_path, monkeypatch):
    looked = []
    stored = kept.stored
    monkeypatch.setattr(kept, "stored", lambda store: looked.append(store) or stored(store))
    networks = [Network.of("resnet18", {"outputs": outputs}) for outputs in range(1, 9)]
    tasks = runner.tasks(metrics.chosen(["params"]), networks, Request())
    runner.run(tasks, RowStore(tmp_path / "rows.jsonl"))
    assert len(looked) == 1


def test_a_store_finds_rows_by_key_whatever_became_of_the_others(tmp_path):
    store = RowStore(tmp_path / "rows.jsonl")
    for number in range(4):
        store.append({"key": f"k{number % 2}", "number": number})
    assert [row["number"] for row in store.find("k1")] == [1, 3]
    store.leave_out(lambda row: row["number"] == 3)
    assert [row["number"] for row in store.find("k1")] == [1]
    assert store.find("k2") == []
    store.append({"key": "k1", "number": 4})
    assert [row["number"] for row in store.find("k1")] == [row["number"] for row in store.rows if row["key"] == "k1"]
    assert RowStore(store.path).find("k0") == store.find("k0")
