"""Ablations: closed forms row by row, grids refused before work starts, and nothing lost to a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from torch import nn

from scsc_lab import InputError, api
from scsc_lab.cli import main
from scsc_lab.execution.pools import Parallel
from scsc_lab.experiments import compare, runner, variants
from scsc_lab.experiments.variants import Variant
from scsc_lab.models import build
from scsc_lab.networks import mixers, overrides
from scsc_lab.networks.network import Network
from scsc_lab.networks.specs import SCSCSpec, SwinSpec
from scsc_lab.settings import Settings, Timing
from scsc_lab.store import Store


def closed_form(spec: SwinSpec, side: int) -> tuple[int, int]:
    """Return parameters and MACs of a Swin with SCSC in some stages, from the module's closed formulas."""
    width, positions = spec.embed_dim, (side // spec.patch) ** 2
    params = 3 * spec.patch**2 * width + width + 2 * width
    macs = 3 * spec.patch**2 * width * positions
    for stage, (depth, module) in enumerate(zip(spec.depths, spec.scsc, strict=True), start=1):
        hidden = int(spec.mlp_ratio * width)
        scsc = stage in spec.scsc_stages
        mixer = _scsc(module, width, positions) if scsc else _attention(spec, stage, width, positions)
        norms = 2 * width if scsc else 4 * width
        mlp = 2 * width * hidden
        params += depth * (mixer[0] + norms + mlp + hidden + width)
        macs += depth * (mixer[1] + mlp * positions)
        if stage < len(spec.depths):
            params += 8 * width + 8 * width * width
            macs += 8 * width * width * positions // 4
            width, positions = 2 * width, positions // 4
    return params + 2 * width + width * spec.outputs + spec.outputs, macs + width * spec.outputs


def _scsc(module: SCSCSpec, width: int, positions: int) -> tuple[int, int]:
    m, g, c = len(module.kernels), module.groups, module.reduced_channels(width)
    squares, hidden = sum(k * k for k in module.kernels), max(width // 16, 32)
    params = width * c + 2 * c + c * squares + 2 * m * c + c * width + 2 * width
    macs = (width * c + c * squares + c * width) * positions
    if module.gates:
        params, macs = params + c * m * g, macs + (c * m * g + c * m) * positions
    if module.se:
        params, macs = params + 2 * width * hidden, macs + 2 * width * hidden
    return params, macs


def _attention(spec: SwinSpec, stage: int, width: int, positions: int) -> tuple[int, int]:
    params = 4 * width * width + 4 * width + (2 * spec.window - 1) ** 2 * spec.heads[stage - 1]
    return params, 4 * width * width * positions + 2 * positions * spec.window**2 * width


COUNTED = ("params", "macs", "activations", "bytes")


def given(name: str = "scsc_swin_tiny", studies: tuple[str, ...] = (), side: int | None = None) -> list[Variant]:
    network = replace(Network.read(name), resolution=side and (side, side))
    return variants.built_in(network, studies)


def measured(variants, *more):
    return runner.run([compare.ablation(variants, COUNTED, Settings())], *more).results[0].rows


def keys(variants) -> set[str]:
    return set(runner.ask([compare.ablation(variants, COUNTED, Settings())], Store()).keys.values())


def test_every_study_of_swin_equals_the_closed_form_row_by_row():
    found = given()
    for variant, row in zip(found, measured(found), strict=True):
        assert (row["params"], row["macs"]) == closed_form(variant.network.spec, 224), row["variant"]
        assert row["status"] == "complete"


@pytest.mark.parametrize("name", ["scsc_resnet_pico", "scsc_faceresnet_pico", "scsc_swin_pico"])
def test_every_study_runs_on_every_family(name):
    found = given(f"{name}[depths=1,1,1,1]", side=32)
    rows = measured(found)
    assert {variant.study for variant in found} == set(variants.STUDIES)
    for variant, row in zip(found, rows, strict=True):
        model = build.build(variant.network)
        assert row["params"] == sum(parameter.numel() for parameter in model.parameters()), row["variant"]
        assert row["status"] == "complete"
        assert model(torch.ones(1, 3, 32, 32)).isfinite().all()
    for study in variants.STUDIES:
        own = [row for row in rows if row["study"] == study]
        assert own[0]["variant"] == "full"
        assert len({row["variant"] for row in own}) == len(own) > 3
        assert len({(row["macs"], row["activations"]) for row in own}) > 3, "the variants cost the same"


def test_components_are_what_they_say():
    specs = {variant.name: variant.network.spec.scsc for variant in given(studies=("components",))}
    assert not any(module.shuffle for module in specs["no shuffle"])
    assert not any(module.gates for module in specs["plain sum, no gates"])
    assert not any(module.se for module in specs["no squeeze-excitation"])
    assert [module.kernels for module in specs["largest kernel only"]] == [(13,), (11,), (7,), (5,)]
    assert {module.kernels for module in specs["smallest kernel only"]} == {(3,)}
    for name in ("largest", "smallest"):
        equal, wider = specs[f"{name}, equal width"], specs[f"{name} kernel only"]
        assert [module.kernels for module in equal] == [module.kernels for module in wider]
        for stage, (full, own, other) in enumerate(zip(specs["full"], equal, wider, strict=True)):
            assert own.reduced_channels(96 << stage) == full.reduced_channels(96 << stage)
            assert other.reduced_channels(96 << stage) > full.reduced_channels(96 << stage)


def test_a_value_that_is_the_default_is_the_unchanged_network():
    def make(width: int = 4, bias: bool = True):
        return nn.Conv2d(3, width, 3, bias=bias)

    frame = api.ablate(make, vary={"width": [4, 8], "bias": ["false", "true"]}, resolution=8, metrics=["params"])
    assert list(frame["variant"]) == ["full", "width=8", "bias=false"]
    assert list(frame["params"]) == [112, 224, 108]


def test_grids():
    network = Network.read("scsc_swin")
    axes = variants.parse_axes(network, ["groups=2,8", "kernels=3,5;3,5,7;", "stage1.se=true,false"])
    found = variants.of_values(network, {}, axes)
    assert len(found) == 1 + 2 * 2 * 2
    assert found[-1].name == "groups=8 kernels=3,5,7 stage1.se=false"
    assert found[-1].network.spec.scsc[0] == SCSCSpec((3, 5, 7), 8, se=False)


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (["groups="], "the grid is empty: groups has no values"),
        (["kernel=3"], "unknown key 'kernel'; did you mean kernels"),
        (["kernels=3,5"], "kernels is a list; put ; between values"),
        (["groups=x"], "groups='x': a whole number"),
        (["groups=" + ",".join(map(str, range(1, 31))), "drop_path=" + ",".join(["0.1"] * 400)], "the grid has 12000"),
    ],
)
def test_bad_grids_are_refused_before_work_starts(axes, message):
    network = Network.read("scsc_swin")
    with pytest.raises(InputError, match=message):
        variants.of_values(network, {}, variants.parse_axes(network, axes))
    with pytest.raises(InputError, match="the grid is empty"):
        variants.of_values(network, {}, {})


def test_unknown_studies_and_networks_without_scsc():
    with pytest.raises(InputError, match="unknown study 'kernel': one of components"):
        variants.built_in(Network.read("scsc_swin"), ["kernel"])
    with pytest.raises(InputError, match="swin_tiny has no SCSC module to ablate; try scsc_swin_tiny, or --transplant"):
        variants.built_in(Network.read("swin"))
    with pytest.raises(InputError, match="timm:resnet18 has no SCSC module to ablate; add it with --transplant"):
        variants.built_in(Network.read("timm:resnet18"))


def test_a_store_skips_what_is_there(tmp_path):
    found = given(studies=("groups",))
    store = Store(tmp_path / "rows.db")
    first = measured(found, store)
    again = Store(tmp_path / "rows.db")
    assert measured(found, again) == first
    assert again.keys() == keys(found)
    measured(given(studies=("groups",), side=64), again)
    assert len(again.keys()) == 2 * len(keys(found))


def test_a_kill_loses_nothing_that_was_measured(tmp_path, capsys):
    path = tmp_path / "rows.db"
    grid = ["--grid", "groups=1,2,4,8", "--grid", "kernels=3;3,5;3,5,7;3,7,11;3,9,13;5,9,13", "--grid", "se=true,false"]
    words = ["ablate", "scsc_swin[depths=1,1,1,1]", "--no-draw", *grid, "--format", "json"]
    command = [sys.executable, "-m", "scsc_lab", *words, "--store", str(path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(Store(path).keys()) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    survived = Store(path).keys()
    assert 5 <= len(survived) < 49
    assert main([*words, "--store", str(path)]) == 0
    resumed = capsys.readouterr()
    assert f"{len(survived)} of 49 measurements are stored" in resumed.err
    rows = json.loads(resumed.out)["rows"]
    assert len(rows) == 49
    assert len(Store(path).keys()) == 49
    assert len(Store(path).experiments()) == 1
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == rows


def test_processes_give_the_same_rows():
    found = given("scsc_faceresnet", ("components", "groups"))
    with Parallel(2).pool() as pool:
        assert measured(found, None, pool) == measured(found)


def test_an_interrupt_begins_nothing_more(tmp_path, monkeypatch):
    begun = []
    measure = runner.measure_elsewhere
    monkeypatch.setattr(runner, "measure_elsewhere", lambda tasks, *rest: begun.extend(tasks) or measure(tasks, *rest))

    def stop(what: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    store = Store(tmp_path / "rows.db")
    found = given(studies=("kernels", "groups", "stages"))
    with ThreadPoolExecutor(1) as pool:
        done = runner.run([compare.ablation(found, COUNTED, Settings())], store, pool, stop)
    rows = done.results[0].rows
    assert done.interrupted
    assert len(Store(store.path).keys()) == 1
    assert sum("macs" in row for row in rows) < len(rows)
    assert len(begun) < len(keys(found)) / 2


def test_a_dask_cluster_loses_a_worker_and_no_row(tmp_path):
    distributed = pytest.importorskip("distributed")
    found = given("scsc_swin_tiny")
    store = Store(tmp_path / "rows.db")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
    ) as cluster:
        victim = next(iter(cluster.workers.values()))
        killed = []

        def kill_once(what: str, done: int, total: int) -> None:
            if not killed and done > 3:
                os.kill(victim.process.process.pid, signal.SIGKILL)  # its own kill() leaves an event loop open
                killed.append(done)

        with Parallel(executor=cluster.scheduler_address).pool() as pool:
            rows = measured(found, store, pool, kill_once)
    assert killed
    assert rows == measured(found)
    assert Store(tmp_path / "rows.db").keys() == keys(found)


def test_the_command_prints_a_table_a_study_and_draws_them(tmp_path, capsys):
    code = main(
        ["ablate", "scsc_swin", "--study", "components", "--study", "groups", "--figures", str(tmp_path / "new")]
    )
    out = capsys.readouterr().out
    assert code == 0
    assert "scsc_swin_tiny: components" in out
    assert "scsc_swin_tiny: groups" in out
    assert max(map(len, out.splitlines())) <= 80
    pictures = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert pictures == ["ablation_components.png", "ablation_groups.png"]
    assert all((tmp_path / "new" / name).read_bytes().startswith(b"\x89PNG") for name in pictures)


def test_a_toml_file(tmp_path, capsys):
    config = tmp_path / "study.toml"
    config.write_text('studies = ["groups"]\n[grid]\nkernels = [[3, 5], [3, 5, 7]]\n"stage1.shuffle" = [false]\n')
    assert main(["ablate", "scsc_swin", "--config", str(config), "--no-draw", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {row["study"] for row in rows} == {"groups", "grid"}
    assert rows[-1]["variant"] == "kernels=3,5,7 stage1.shuffle=false"
    assert rows[-1]["macs_change"] == pytest.approx(rows[-1]["macs"] / 3304838144 - 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("nonsense", "is not TOML"),
        ("study = 1", "'study' is not known"),
        ("[grid]\ngroups = 2", "groups = 2: a list of values is needed"),
        ("[grid]\ngroups = []", "the grid is empty: groups has no values"),
        ('[grid]\ngroups = ["x"]', "groups='x': a whole number"),
        ("[grid]\ngroups = [2.5]", "groups='2.5': a whole number"),
    ],
)
def test_bad_toml_files(tmp_path, capsys, content, message):
    config = tmp_path / "study.toml"
    config.write_text(content)
    assert main(["ablate", "scsc_swin", "--config", str(config)]) == 2
    assert message in capsys.readouterr().err


def test_latency_and_fields_on_request_are_kept_and_say_how_they_were_measured(tmp_path, capsys, monkeypatch):
    for name, seconds in (("least_seconds", 0.0), ("warm_up_limit", 0.01)):
        monkeypatch.setattr(Timing, name, seconds)
    store = tmp_path / "rows.db"
    small = ["ablate", "scsc_swin_pico[depths=1,1,1,1 embed_dim=48]", "--study", "groups", "--no-draw"]
    small += ["--pairs", "6", "--max-time", "60", "--samples", "2"]
    command_ = [*small, "--with", "params,latency,erf", "--store", str(store)]
    assert main(command_) == 0
    first = capsys.readouterr()
    text = " ".join(first.out.split())
    for told in (
        "in rounds of random order",
        "float32, threads: 1",
        "2 synthetic 1/f images, random weights of 3 seeds",
    ):
        assert told in text
    measurements = Store(store).measurements()
    assert main([*command_, "--format", "json"]) == 0
    second = capsys.readouterr()
    assert "15 of 15 measurements are stored" in second.err  # of five networks by three metrics
    assert Store(store).measurements() == measurements  # nothing is measured again
    full, *others = json.loads(second.out)["rows"]
    assert full["ratio"] is None
    assert [row["variant"] for row in others if row["ratio_low"] is None] == ["groups=4"]  # the full network again
    for row in others:
        assert row["ratio_low"] is None or row["ratio_low"] <= row["ratio"] <= row["ratio_high"]
        assert 0 < row["r50"] < 1
        assert row["device_name"]
        assert row["dtype"] == "float32"


BLOCK = """
from torch import nn


class Block(nn.Module):
    def __init__(self, c_in, c_out, stride=1, kernel: int = 5):
        super().__init__()
        self.spatial = nn.Conv2d(c_in, c_in, kernel, stride, kernel // 2, groups=c_in)
        self.pointwise = nn.Conv2d(c_in, c_out, 1)

    def forward(self, x):
        return self.pointwise(self.spatial(x))
"""


def test_the_study_of_mixers_puts_each_in_the_same_places_and_ones_own_last(tmp_path):
    own = tmp_path / "my_block.py"
    own.write_text(BLOCK)
    network = Network.read("resnet18")
    put = [
        replace(network, transplant=overrides.transplant({"stages": 4, **more}, name))
        for name, more in (("mixconv", {"kernels": (3, 9)}), (f"{own}:Block", {"kernel": 3}))
    ]
    found = variants.built_in(network, ["mixers"], put)
    named = [variant.name for variant in found]
    assert named[:2] == ["own operators", "SCSC"]
    assert named[-1] == f"{own}:Block[kernel=3]"
    assert "mixconv[kernels=3,9]" in named
    assert len(found) == 2 + len(mixers.names()) == len(set(named))
    assert found[0].network == network
    rows = measured([replace(one, network=replace(one.network, resolution=(32, 32))) for one in found])
    places = 3 * 512 * 512 + 256 * 512
    params = {row["variant"]: row["params"] for row in rows}
    bare = params["own operators"] - 9 * places
    assert params["identity"] == params["pooling"] == bare + 256 * 512
    assert params[named[-1]] == bare + places + 4 * 512 + (256 + 3 * 512) * (9 + 1)
    assert all(variant.network.transplant.stages == (4,) for variant in found[1:])


def test_the_study_of_mixers_wants_a_network_without_scsc():
    with pytest.raises(InputError, match=r"scsc_swin_tiny already has SCSC, and the study mixers .* try swin_tiny"):
        variants.built_in(Network.read("scsc_swin"), ["mixers"])
    with pytest.raises(InputError, match="resnet18 has no SCSC module to ablate"):
        variants.built_in(Network.read("resnet18"), ["mixers", "kernels"])
    study = variants.built_in(Network.read("resnet18 + focal"), ["mixers"])
    assert [variant.network.text for variant in study[:2]] == ["resnet18", "resnet18 + SCSC"]
