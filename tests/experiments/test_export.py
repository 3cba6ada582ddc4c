"""Every network of the catalog exports, runs, agrees, and is counted in its file to the last multiply-accumulate."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import scsc_lab
from scsc_lab import InputError
from scsc_lab.execution.agreement import TOLERANCE
from scsc_lab.metrics.size import counted
from scsc_lab.networks.network import Network

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


SHALLOW = [
    "swin_pico[depths=2,1,1,1]",  # with a shifted window
    *(f"{name}[depths=1,1,1,1]" for name in ("resnet18", "resnet_pico", "scsc_resnet_pico")),
    *(f"{name}[depths=1,1,1,1]" for name in ("scsc_swin_pico", "scsc_faceresnet_pico")),
]
"""Every kind of block of the catalog."""


@pytest.mark.parametrize("name", SHALLOW)
def test_the_catalog_exports_and_its_files_count_the_same(name, tmp_path):
    network = replace(Network.read(name), resolution=(64, 96))
    exported = scsc_lab.export(network, tmp_path / "model.onnx", dynamic_batch=True)
    assert 0 < exported.agreement.difference <= TOLERANCE
    assert exported.agreement.depends_on_input
    file = replace(Network.read(str(tmp_path / "model.onnx")), resolution=(64, 96))
    for batch in (1, 3):
        here, there = counted(network, batch), counted(file, batch)
        assert there.status == "complete"
        assert (there.macs, there.params, there.activations) == (here.macs, here.params, here.activations)


def test_a_deploy_form_exports_at_a_fixed_batch_in_an_older_opset(tmp_path):
    network = Network.read("scsc_resnet_pico[depths=1,1,1,1] (deploy)")
    exported = scsc_lab.export(network, tmp_path / "model.onnx", 32, opset=18)
    assert exported.opset == 18
    assert exported.row()["batch"] == 1
    here = counted(replace(network, resolution=(32, 32)))
    there = counted(Network.read(str(tmp_path / "model.onnx")))
    assert (there.macs, there.params) == (here.macs, here.params)
    # By module, too: the file says which module its operators and tensors are of.
    modules = [{part.name: part.macs for part in one.by_module(1) if part.macs} for one in (there, here)]
    assert modules[0] == modules[1]


class Odd(nn.Module):
    """Parameters where one does not look for them: a single number, one among bounds, an exponent, one used twice."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.again = nn.Conv2d(3, 3, 3, padding=1)
        self.again.weight = self.conv.weight
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.exponent = nn.Parameter(torch.full((1,), 3.0))
        self.low = nn.Parameter(torch.tensor(1e-6))

    def forward(self, x):
        x = self.again(self.conv(x)) * self.scale
        return x.maximum(self.low).pow(self.exponent).mean((2, 3)).pow(1 / self.exponent)


def test_every_parameter_of_a_module_is_one_of_its_file(tmp_path):
    scsc_lab.export(Odd(), tmp_path / "model.onnx", 16)
    here, there = scsc_lab.count(Odd(), input_shape=(1, 3, 16, 16)), counted(Network.read(str(tmp_path / "model.onnx")))
    assert (there.params, there.macs) == (here.params, here.macs)


class Deciding(nn.Module):
    """A network of truth values, which come with a word where it is told to."""

    def __init__(self, word=None):
        super().__init__()
        self.conv, self.word = nn.Conv2d(3, 4, 3), word

    def forward(self, x):
        y = self.conv(x) > 0
        return (y, self.word) if self.word else y


def test_truth_values_are_compared_too_and_what_cannot_be_loaded_is_one_line(tmp_path):
    for name in ("model.onnx", "model.pt2"):
        assert scsc_lab.export(Deciding(), tmp_path / name, 8).agreement.difference == 0
    with pytest.raises(InputError, match=r"torch\.export refuses its own file|cannot write it"):
        scsc_lab.export(Deciding("no"), tmp_path / "other.pt2", 8)
    assert not (tmp_path / "other.pt2").exists()


class Returning(nn.Module):
    """A network that returns its map, and something else or in another form."""

    def __init__(self, give):
        super().__init__()
        self.conv, self.give = nn.Conv2d(3, 4, 3), give

    def forward(self, x):
        return self.give(self.conv(x))


def test_what_a_file_cannot_hold_is_one_line_that_names_it(tmp_path):
    cases = [
        (Returning(lambda y: (y, 3, None)), "model.onnx", "returns int as well as tensors"),
        (Returning(lambda y: (y, "word")), "model.onnx", "returns str as well as tensors"),
        (Returning(lambda y: y.to_sparse()), "model.pt2", "returns a sparse tensor"),
        (nn.Conv2d(3, 4, 3).double(), "model.onnx", r"weights are float64.*model\.float\(\)"),
        (nn.Conv2d(3, 4, 3).half(), "model.pt2", r"weights are float16.*model\.float\(\)"),
    ]
    for model, name, line in cases:
        with pytest.raises(InputError, match=line):
            scsc_lab.export(model, tmp_path / name, 8)
    with pytest.raises(InputError, match="returns a size as well as tensors"):
        scsc_lab.export(Returning(lambda y: (y, y.shape[0])), tmp_path / "model.onnx", 8, dynamic_batch=True)
    assert not list(tmp_path.iterdir())
    if torch.__version__ >= (2, 9):  # an older exporter writes no file for it
        assert scsc_lab.export(Returning(lambda y: (y, None)), tmp_path / "model.onnx", 8).agreement.depends_on_input


class Dropping(nn.Module):
    """A network of convolutions whose dropout, or drop path, stays on in evaluation mode."""

    def __init__(self, rate, whole=False):
        super().__init__()
        self.conv, self.rate, self.whole = nn.Conv2d(3, 4, 3), rate, whole

    def forward(self, x):
        y = self.conv(x)
        if self.whole:
            return y * (torch.rand(()) > self.rate)
        return nn.functional.dropout(y, self.rate, training=True)


@pytest.mark.parametrize("model", [Dropping(0.14), Dropping(0.3, whole=True)], ids=["dropout", "drop path"])
@pytest.mark.parametrize("name", ["model.onnx", "model.pt2"])
def test_a_network_that_is_random_by_itself_is_refused_and_not_rounding(tmp_path, name, model):
    with pytest.raises(InputError, match=r"two passes of the network on one input .* random by itself"):
        scsc_lab.export(model, tmp_path / name, 8)
    assert not list(tmp_path.iterdir())


MEMORY = {
    "empty": lambda y: torch.empty(y.shape),
    "empty_like": torch.empty_like,
    "new_empty": lambda y: y.new_empty(y.shape),
    "empty_strided": lambda y: torch.empty_strided(y.shape, y.stride()),
    "resize": lambda y: torch.zeros(0).resize_(y.shape),
    "integers": lambda y: torch.empty(y.shape, dtype=torch.int64) % 7,
}


class Unwritten(nn.Module):
    """A network that puts out memory, of which it writes a part."""

    def __init__(self, allocate):
        super().__init__()
        self.conv, self.allocate = nn.Conv2d(3, 4, 3), allocate

    def forward(self, x):
        y = self.conv(x)
        memory = self.allocate(y)
        memory[:, :2] = y[:, :2]
        return memory


@pytest.mark.parametrize("name", MEMORY)
def test_memory_that_nothing_wrote_is_refused(tmp_path, name):
    fills = torch.utils.deterministic.fill_uninitialized_memory
    message = r"two passes of the network .* reads memory that nothing wrote|output on random input is not finite"
    with pytest.raises(InputError, match=message):  # what the memory held may be no number
        scsc_lab.export(Unwritten(MEMORY[name]), tmp_path / "model.pt2", 8)
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory == fills
    assert not list(tmp_path.iterdir())


class Dropped(nn.Module):
    """A network that drops its output in half of its passes, by a generator that is not torch's."""

    def __init__(self, draw):
        super().__init__()
        self.conv, self.draw = nn.Conv2d(3, 4, 3), draw

    def forward(self, x):
        return self.conv(x) * float(self.draw() > 0.5)


@pytest.mark.parametrize("generator", [random, np.random])
def test_draws_of_other_generators_are_seen(tmp_path, generator):
    generator.seed(0)
    with pytest.raises(InputError, match="random by itself"):
        scsc_lab.export(Dropped(generator.random), tmp_path / "model.pt2", 8)


class Counting(nn.Module):
    """A network that keeps a state: its output grows from pass to pass."""

    def __init__(self):
        super().__init__()
        self.conv, self.register = nn.Conv2d(3, 4, 3), torch.zeros(())

    def forward(self, x):
        self.register = self.register + 1
        return self.conv(x) * self.register


def test_a_network_that_keeps_a_state_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"keeps a state|cannot trace it|cannot write it"):
        scsc_lab.export(Counting(), tmp_path / "model.pt2", 8)


class Normalising(nn.Module):
    """A network that changes its input in place."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return self.conv(x.sub_(0.5).div_(0.25))


def test_a_network_may_change_its_input_in_place(tmp_path):
    exported = scsc_lab.export(Normalising(), tmp_path / "model.onnx", 16)
    assert exported.agreement.depends_on_input


def test_what_onnx_runtime_has_fused_counts_the_same(tmp_path):
    import onnxruntime

    path = tmp_path / "model.onnx"
    scsc_lab.export("swin_pico", path, resolution=64, depths=(2, 1, 1, 1))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "fused.onnx")
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    whole, fused = (counted(Network.read(str(tmp_path / name))) for name in ("model.onnx", "fused.onnx"))
    assert fused.status == "complete"
    assert fused.macs == whole.macs


def test_commands_that_need_gradients_say_in_one_line_that_a_file_has_none(tmp_path, capsys):
    from scsc_lab.cli import main

    file = str(tmp_path / "model.onnx")
    scsc_lab.export(scsc_lab.SCSC(3, 4, (3, 5), groups=1), file, resolution=16)
    for words in (
        ["erf", file],
        ["train", file],
        ["flops", file, "--transplant"],
        ["flops", file, "--train"],
        ["flops", file, "--deploy"],
    ):
        assert main(words) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "an ONNX file is not a torch module" in line
    assert main(["flops", file, "--no-check", "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["resolution"] == [16, 16]
