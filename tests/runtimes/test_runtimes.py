"""Runtimes: one file each; the same numbers as torch, the same rounds, and one line where something is missing."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from dataclasses import replace

import extended
import numpy as np
import pytest
from simulated import Time, candidate
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef

from scsc_lab import InputError, api, runtimes
from scsc_lab.cli import main
from scsc_lab.networks.values import InputTensor
from scsc_lab.runtimes.source import Source
from scsc_lab.settings import Execution, Settings, Timing
from scsc_lab.timing import breakdown, latency, ready

CPU = Execution("cpu")
QUICK = Settings(CPU, Timing(8, 0.0, 60.0, warm_up_seconds=0.0))
ALL = ("torch", "onnxruntime", "openvino")


class Tiny(nn.Module):
    """A network of two outputs, one of them scaled down and with a dimension left out."""

    def __init__(self, width=8):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        self.head = nn.Linear(width, 5)

    def forward(self, x):
        maps = self.first(x)
        return maps * 1e-3, self.head(maps.mean((2, 3)))


def source(model=None, execution=CPU):
    return Source("tiny", (model or Tiny()).eval(), [InputTensor((2, 3, 16, 16))], execution, 0)


@pytest.fixture
def installed():
    for name in ("onnxscript", "onnxruntime", "openvino"):
        pytest.importorskip(name, reason=f"{name} is not installed")


class Normalising(nn.Module):
    """A network that changes its input in place, and remembers how large it was."""

    def __init__(self):
        super().__init__()
        self.conv, self.largest = nn.Conv2d(3, 4, 3), []

    def forward(self, x):
        self.largest.append(float(x.abs().max()))
        return self.conv(x.sub_(0.5).div_(0.25))


def test_a_network_that_leaves_its_input_alone_is_fed_no_copy(monkeypatch):
    given = source()
    made = []
    usual = Source.input
    monkeypatch.setattr(Source, "input", lambda self, *order: made.append(1) or usual(self, *order))
    run = runtimes.find("torch").prepare(given, CPU).in_layout("contiguous")
    for _ in range(3):
        run()
    assert len(made) == 1


@pytest.mark.parametrize("train", [False, True])
def test_a_network_that_changes_its_input_is_fed_the_same_numbers_in_every_pass(train):
    model, execution = Normalising(), replace(CPU, train=train)
    given = source(model, execution)
    reference = given.reference
    session = runtimes.find("torch").prepare(given, execution)
    run = session.in_layout("channels_last")
    for _ in range(20):
        run()
    assert len(model.largest) == 22  # the reference is of two passes
    assert len(set(model.largest)) == 1
    assert ready.difference(reference, session.outputs()) < 1e-5


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("name", ALL)
def test_every_runtime_computes_what_torch_does_on_the_same_input(name):
    given = source()
    reference = given.reference
    session = runtimes.find(name).prepare(given, CPU)
    assert [one.shape for one in session.outputs()] == [(2, 8, 16, 16), (2, 5)]
    assert ready.difference(reference, session.outputs()) < 1e-5
    session.run()
    assert ready.difference(reference, session.outputs()) < 1e-5


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("name", ALL[1:])
def test_the_memory_of_an_input_lasts_as_long_as_its_session(name, monkeypatch):
    """Newer versions of ONNX Runtime keep the memory themselves, with those of ``nox -s oldest`` the session has to."""
    given, inputs = source(), []
    draw = Source.tensors

    def drawn(self, names):
        tensors = draw(self, names)
        inputs.extend(StorageWeakRef(x.untyped_storage()) for x in tensors)
        return tensors

    monkeypatch.setattr(Source, "tensors", drawn)
    session = runtimes.find(name).prepare(given, CPU)
    gc.collect()
    assert inputs
    assert not any(memory.expired() for memory in inputs)
    assert ready.difference(given.reference, session.outputs()) < 1e-5


@pytest.mark.usefixtures("installed")
def test_lower_precision_is_held_against_torch_in_the_same():
    given = source(Tiny().eval().bfloat16(), replace(CPU, dtype="bfloat16"))
    if "BF16" not in pytest.importorskip("openvino").Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        with pytest.raises(InputError, match="computes in f32 on this CPU"):
            runtimes.find("openvino").prepare(given, given.execution)
        return
    session = runtimes.find("openvino").prepare(given, given.execution)
    assert session.describe()["inference_precision_hint"] == "bf16"
    assert ready.difference(given.reference, session.outputs()) < ready.LARGEST_DIFFERENCE["bfloat16"]


@pytest.mark.usefixtures("installed")
def test_threads_precision_and_spinning_are_set():
    given = source()
    session = runtimes.find("onnxruntime").prepare(given, replace(CPU, threads=2))
    settings = session.session.get_session_options()
    assert (settings.intra_op_num_threads, settings.inter_op_num_threads) == (2, 1)
    assert settings.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert session.describe()["provider"] == "CPUExecutionProvider"
    told = runtimes.find("openvino").prepare(given, replace(CPU, threads=2)).describe()
    assert (told["inference_precision_hint"], told["inference_num_threads"], told["num_streams"]) == ("f32", 2, 1)


@pytest.mark.usefixtures("installed")
def test_networks_and_runtimes_share_rounds_and_each_is_held_against_its_own_baseline():
    networks = [candidate(Tiny(width).eval(), f"{width}", side=16, channels=3) for width in (8, 64)]
    found = [replace(one, runtime=name) for name in ALL for one in networks]
    rows = [timing.row() for timing in latency.measure(found, QUICK)]
    assert [(row["runtime"], row["model"], row["baseline"]) for row in rows] == [
        (name, model, "" if model == "8" else "8") for name in ALL for model in ("8", "64")
    ]
    assert {row["samples"] for row in rows} == {8}
    assert len({row["repeats"] for row in rows}) == 1
    for row in rows:
        assert (row["ratio"] is None) == (row["model"] == "8")
        assert (row["torch_ratio"] is None) == (row["runtime"] == "torch")
        assert row["setup_seconds"] > 0
        assert (row["export_seconds"] is None) == (row["runtime"] == "torch")
        assert row["compile"] is False
        assert row["runtime_details"]["version"]
    for row in rows[2:]:
        assert row["torch_ratio_low"] <= row["torch_ratio"] <= row["torch_ratio_high"]
        assert row["output_difference"] < 1e-5
        assert row["memory_format"] is None
        medians = [np.divide(row["samples_seconds"], rows[at]["samples_seconds"]) for at in range(2)]
        assert row["torch_ratio"] == pytest.approx(np.exp(np.median(np.log(medians[row["model"] == "64"]))))
    assert rows[2]["export_seconds"] == rows[4]["export_seconds"]  # made once for both
    json.dumps(rows, allow_nan=False)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("name", ALL)
def test_operators_of_a_runtime_and_what_is_unexplained_sum_up(name):
    one = candidate(Tiny(32).eval(), side=32, channels=3, runtime=name)
    [found] = breakdown.measure([one], replace(QUICK, timing=Timing(4, 0.0, 60.0)), "operator")
    rows = {row["name"]: row for row in found.rows()}
    convolution = {"torch": "mkldnn_convolution", "onnxruntime": "Conv", "openvino": "Convolution"}[name]
    assert any(row["median_seconds"] > 0 for key, row in rows.items() if convolution in key or "conv" in key)
    assert "BatchNormalization" not in rows  # it is part of the convolution by then
    parts = [row for key, row in rows.items() if key != "total"]
    assert sum(row["median_seconds"] for row in parts) == pytest.approx(rows["total"]["median_seconds"])
    assert {row["runtime"] for row in parts} == {name}


class Interrupted(runtimes.Profile):
    """A profile whose fourth pass is interrupted when the runtime has noted it already."""

    def __init__(self):
        self.passes = 0

    def run(self):
        self.passes += 1
        if self.passes == 4:
            raise KeyboardInterrupt
        return 1.0

    def operators(self):
        return [{"Conv": 0.25}] * self.passes


def test_an_interrupt_keeps_the_operators_that_were_timed(monkeypatch):
    class Watched(Wrong):
        def outputs(self):
            return self.source.reference

        def profile(self):
            return Interrupted()

    added(monkeypatch, Watched)
    one = candidate(Tiny().eval(), side=16, channels=3, runtime="new")
    [found] = breakdown.measure([one], QUICK, "operator", clock=Time().clock())
    assert found.latency.status == "cut short"
    assert found.parts == {"Conv": (0.25, 0.25)}


def test_modules_and_stages_are_those_of_torch():
    with pytest.raises(InputError, match="in torch, without training"):
        breakdown.measure([candidate(Tiny(), runtime="compile")], QUICK, "module")


class Wrong(runtimes.Session):
    """A runtime that is fast, since it leaves something out."""

    def __init__(self, source, execution):
        self.source = source

    def run(self):
        pass

    def outputs(self):
        return [0.99 * one for one in self.source.reference]


def added(monkeypatch, session, **settings):
    known = {**runtimes.registry(), "new": runtimes.Runtime("new", "New", session, **settings)}
    monkeypatch.setattr(runtimes, "registry", lambda: known)


def test_a_runtime_that_computes_something_else_is_an_error_and_not_a_fast_time(monkeypatch):
    added(monkeypatch, Wrong)
    tiny = candidate(Tiny().eval(), "tiny", side=16, channels=3)
    in_torch, other = latency.measure([tiny, replace(tiny, runtime="new")], QUICK)
    assert (in_torch.status, other.status, other.samples) == ("complete", "failed", ())
    told = "tiny: New computes something else than torch: outputs that differ by 1.0% of the largest, over 0.10%"
    assert other.failure == told


class Dropping(nn.Module):
    """A network whose dropout stays on."""

    def __init__(self, rate=0.5):
        super().__init__()
        self.conv, self.rate = nn.Conv2d(3, 4, 3), rate

    def forward(self, x):
        return nn.functional.dropout(self.conv(x), self.rate, training=True)


def test_a_network_that_is_random_by_itself_is_not_compared_but_timed_in_torch(monkeypatch):
    added(monkeypatch, Wrong)
    dropping = candidate(Dropping().eval(), "dropping", side=16, channels=3)
    told = r"^two passes of dropping on one input give outputs that differ by .* it is random by itself"
    with pytest.raises(InputError, match=told):
        latency.measure([dropping, replace(dropping, runtime="new")], QUICK)
    assert latency.measure([dropping], QUICK)[0].row()["samples"] == 8


@pytest.mark.usefixtures("installed")
def test_an_onnx_file_that_is_random_by_itself_is_not_compared(tmp_path):
    import onnx
    from onnx import TensorProto, helper

    sides = [1, 3, 8, 8]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, sides) for name in ("input", "output")]
    nodes = [
        helper.make_node("RandomNormalLike", ["input"], ["noise"]),
        helper.make_node("Add", ["input", "noise"], ["output"]),
    ]
    graph = helper.make_graph(nodes, "random", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, tmp_path / "noisy.onnx")
    with pytest.raises(InputError, match=r"^two passes of .*noisy\.onnx on one input .* random by itself"):
        api.latency(str(tmp_path / "noisy.onnx"), runtimes=("onnxruntime",), pairs=2, min_seconds=0.0)


def test_differences_are_shares_of_the_largest_output_of_each():
    one = [np.array([1.0, -100.0]), np.array([1e-3])]
    assert ready.difference(one, [np.array([2.0, -100.0]), np.array([1e-3])]) == pytest.approx(0.01)
    assert ready.difference(one, [one[0], np.array([1.1e-3])]) == pytest.approx(0.1)
    assert ready.difference(one, [one[0]]) is None
    odd = [np.array([np.nan, np.inf, 0.0])]
    assert ready.difference(odd, odd) == 0.0
    assert ready.difference(odd, [np.array([0.0, np.inf, 0.0])]) == float("inf")
    masked = [np.array([-np.inf, 2.0, 1.0])]
    assert ready.difference(masked, [np.array([-np.inf, 2.0, 3.0])]) == 1.0
    assert ready.difference(masked, [np.array([-np.inf, 2.0, np.inf])]) == float("inf")
    assert ready.difference(masked, [np.array([np.inf, 2.0, 1.0])]) == float("inf")
    assert ready.difference([np.zeros(2)], [np.zeros(2)]) == 0.0


def test_what_is_missing_or_does_not_go_is_one_line(monkeypatch):
    added(monkeypatch, Wrong, packages=("no_such_package",), extra="new")
    lines = [
        (("new",), CPU, r"^New is not installed: python -m pip install 'scsc-lab\[new\]'$"),
        (("torchh",), CPU, "^runtime 'torchh': one of torch, compile, onnxruntime, openvino, new; did you mean torch"),
    ]
    if runtimes.registry()["openvino"].installed:
        lines.append((("openvino",), replace(CPU, train=True), "^OpenVINO runs inference only"))
        lines.append((("openvino",), replace(CPU, dtype="float64"), "^dtype 'float64': OpenVINO is timed in float32"))
        lines.append((("openvino",), replace(CPU, memory_format="channels_last"), "^layout channels_last is for torch"))
    for names, execution, message in lines:
        with pytest.raises(InputError, match=message):
            runtimes.check(names, execution)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_a_device_that_a_runtime_does_not_run_on_is_one_line(name):
    with pytest.raises(InputError, match=r"^device 'cuda:0': .*--device cpu$"):
        runtimes.find(name).prepare(source(), replace(CPU, device="cuda:0"))


def test_runtimes_and_their_versions_make_another_measurement():
    """Rows of other runtimes, or of other versions of them, are kept under other keys."""
    one = Settings(timing=Timing(runtimes=ALL), versions=(("onnxruntime", "1"),)).identity()
    assert one != Settings(timing=Timing(runtimes=ALL), versions=(("onnxruntime", "2"),)).identity()
    assert one != Settings(versions=(("onnxruntime", "1"),)).identity()


RUNTIME = '''
"""Twice: torch, everything done more than once."""

from scsc_lab.runtimes import Runtime
from scsc_lab.runtimes.torch import TorchSession


class Twice(TorchSession):
    def in_layout(self, memory_format):
        once = super().in_layout(memory_format)
        return lambda: [once() for _ in range(8)]


RUNTIME = Runtime("twice", "Twice", Twice)
'''


def test_a_runtime_is_one_file(tmp_path):
    networks = "resnet_pico[depths=1,1,1,1] resnet_pico[depths=2,1,1,1] --resolution 32 --device cpu"
    quick = "--runtime torch,twice --pairs 6 --max-time 1 --format json"
    helps = [f"{name} --help" for name in ("latency", "compare", "ablate", "report")]
    drawn = "--with macs,latency --plot macs,latency_twice --figure c.png"
    commands = [f"latency {networks} {quick} --min-time 0", f"compare {networks} {quick} {drawn}", *helps]
    ends = extended.run("scsc_lab.runtimes", "twice.py", RUNTIME, tmp_path, commands)
    assert not any(code for code, *_ in ends), [error for *_, error in ends]
    timed, compared = (json.loads(out)["rows"] for _, out, _ in ends[:2])
    assert [row["runtime"] for row in timed] == ["torch", "torch", "twice", "twice"]
    assert timed[2]["torch_ratio"] > 1
    assert [row["runtimes"] for row in compared] == [["torch", "twice"]] * 2
    assert compared[1]["twice_ratio"] > 0
    assert compared[1]["twice_torch_ratio"] > 1
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    assert all("twice" in out for _, out, _ in ends[2:])


def test_the_registry_needs_no_torch():
    code = "import sys, scsc_lab.runtimes as runtimes; runtimes.default_names(); print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "False"


@pytest.mark.usefixtures("installed")
def test_torch_keeps_its_layout_while_others_are_made_ready():
    seen = []

    class Looking(nn.Conv2d):
        def forward(self, x):
            seen.append((x.is_contiguous(), self.weight.is_contiguous()))
            return super().forward(x)

    last = Settings(replace(CPU, memory_format="channels_last"), Timing(2, 0.0, 60.0, warm_up_seconds=0.0))
    one = candidate(Looking(3, 8, 3).eval(), side=16, channels=3)
    latency.measure([one, replace(one, runtime="onnxruntime")], last)
    assert set(seen) == {(True, True), (False, False)}
    assert seen[-1] == (False, False)


@pytest.mark.usefixtures("installed")
def test_an_onnx_file_is_timed_in_the_runtimes_that_run_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    api.export("swin_pico", "one.onnx", depths=(1, 1, 1, 1))
    found = api.latency("swin_pico", "one.onnx", runtimes=ALL, pairs=4, min_seconds=0.0, warm_up_seconds=0.0)
    timed = {(one.model, one.runtime) for one in found}
    assert timed == {("swin_pico", name) for name in ALL} | {("one.onnx", name) for name in ALL[1:]}
    assert main(["latency", "one.onnx", "--pairs", "2"]) == 2
    assert "--runtime onnxruntime" in capsys.readouterr().err
