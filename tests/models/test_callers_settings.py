"""Measurements inside what the caller has set for all of torch: the numbers stay, and so do the settings."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch import nn

import scsc_lab
import scsc_lab.runtimes.torch
from scsc_lab import InputError, runtimes
from scsc_lab.cli import main
from scsc_lab.execution.passes import less_than_float32
from scsc_lab.report import latency
from scsc_lab.settings import Execution


@contextlib.contextmanager
def default(set_default, value, before):
    set_default(value)
    try:
        yield
    finally:
        set_default(before)


CONTEXTS = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "float64": lambda: default(torch.set_default_dtype, torch.float64, torch.float32),
    "meta": lambda: default(torch.set_default_device, "meta", None),
}
COMPARE = ("compare", "scsc_resnet_pico", "--with", "latency", "--max-time", "0.1")


def net() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.GELU()]
    return nn.Sequential(*layers, nn.Conv2d(16, 16, 5, padding=2, groups=16), nn.Conv2d(16, 8, 1))


def measured(network: nn.Module) -> list[object]:
    (field,) = scsc_lab.erf(network, layer="4", resolution=32, samples=4)
    (named,) = scsc_lab.erf("scsc_resnet_pico", samples=2, seeds=1)
    timed = scsc_lab.latency(network, resolution=32, pairs=2, max_seconds=0.1)
    return [
        scsc_lab.count(network, resolution=32).row(),
        scsc_lab.count("swin_pico", train=True).row(),
        [{key: row for key, row in each.row().items() if key != "field_threads"} for each in (field, named)],
        timed[0].row()["dtype"],
    ]


@pytest.mark.parametrize("context", CONTEXTS)
def test_numbers_are_the_same_whatever_the_caller_has_set(context):
    network, x = net(), torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        y = network.eval()(x)
    expected = measured(network)
    with CONTEXTS[context]():
        before = (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu"))
        defaults = (torch.get_default_dtype(), torch.get_default_device())
        assert measured(network) == expected
        deployed, (changed, _) = scsc_lab.deploy(network, (1, 3, 32, 32)), scsc_lab.transplant(network)
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")) == before
        assert (torch.get_default_dtype(), torch.get_default_device()) == defaults
    with torch.no_grad():
        torch.testing.assert_close(deployed(x), y, rtol=1e-4, atol=1e-5)
    weights, expected_weights = changed.state_dict(), scsc_lab.transplant(network)[0].state_dict()
    assert weights.keys() == expected_weights.keys()
    assert all(weights[key].dtype == value.dtype for key, value in expected_weights.items())


@pytest.mark.skipif(torch.__version__ < (2, 9), reason="on a CPU torch computes all of float32")
def test_a_time_says_what_is_less_than_float32(capsys):
    torch.set_float32_matmul_precision("medium")
    try:
        timed = scsc_lab.latency(net(), resolution=32, pairs=2, max_seconds=0.1)
        assert main([*COMPARE, "resnet_pico"]) == 0
    finally:
        torch.set_float32_matmul_precision("highest")
    assert timed[0].row()["runtime_details"]["float32"] == "products in bfloat16"
    assert "float32 (products in bfloat16)" in latency.title([timed[0].row()])
    assert "float32 (products in bfloat16)" in capsys.readouterr().out
    assert less_than_float32(Execution("cuda:0")) == "convolutions in TF32"
    assert less_than_float32(Execution("cpu")) == less_than_float32(Execution("cuda:0", dtype="float16")) == ""


@pytest.mark.parametrize(("speed", "is_said"), [(0.45, True), (0.97, False), (None, False)])
def test_a_time_says_where_products_are_slow_for_the_processor(speed, is_said, monkeypatch, capsys):
    measured = runtimes.torch.speed_of_products()
    assert measured is None or 0 < measured < 10
    monkeypatch.setattr(runtimes.torch, "speed_of_products", lambda: speed)
    assert main(["latency", "swin_pico", "--resolution", "32", "--max-time", "0.1"]) == 0
    assert ("run at 0.45 × the speed" in " ".join(capsys.readouterr().out.split())) is is_said
    assert main([*COMPARE, "swin_pico"]) == 0
    assert ("run at 0.45 × the speed" in " ".join(capsys.readouterr().out.split())) is is_said


def test_products_of_other_libraries_than_mkl_are_not_judged(monkeypatch):
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: False)
    assert runtimes.torch.speed_of_products.__wrapped__() is None


def test_a_device_that_cannot_be_undone_is_one_line():
    with torch.device("meta"), pytest.raises(InputError, match=r"outside of `with torch.device"):
        scsc_lab.count("swin_pico")
    assert scsc_lab.count("swin_pico").macs == 27037440
