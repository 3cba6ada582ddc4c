"""Networks side by side: rows, comparisons, deploy forms, memory that runs out, interrupts, and parts that sum up."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

import scsc_lab
from scsc_lab import InputError
from scsc_lab.execution import passes
from scsc_lab.experiments import breakdown as parts
from scsc_lab.experiments import speed
from scsc_lab.models.subject import Subject, deployed, subjects
from scsc_lab.settings import Budget, Execution, Plan
from scsc_lab.timing.clock import Clock

CPU = Execution("cpu")
SETTINGS = {"device", "dtype", "memory_format", "threads", "compile", "mode", "form", "batch", "resolution", "seed"}
SETTINGS |= {"delta", "resamples", "pairs", "min_seconds", "max_seconds", "warm_up_max_seconds"}


class Layers(nn.Module):
    """A stack of layers that makes a clock go on by a second a layer and image, and does nothing else."""

    def __init__(self, number, time):
        super().__init__()
        self.layers = nn.Sequential(*(Layer(time) for _ in range(number)))
        self.head = Layer(time)
        self.time = time

    def forward(self, x):
        self.time["seconds"] += 0.5 * len(x)  # what belongs to no layer
        return self.head(self.layers(x))


class Layer(nn.Module):
    def __init__(self, time):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.time = time

    def forward(self, x):
        if x.device.type != "meta":
            self.time["seconds"] += len(x)
        return x * self.weight


@pytest.fixture
def time():
    return {"seconds": 0.0}


@pytest.fixture
def clock(time):
    def now():
        return time["seconds"]

    return Clock("made up", now, lambda a, b: b - a, now=now, shortest_seconds=0.0)


def subject(model, label="net", side=4):
    return Subject(label, (side, side), lambda: model, lambda device: model)


def plan(rounds=8, **settings):
    return Plan(settings.pop("execution", CPU), Budget(rounds, 0.0, 1e9), **settings)


def test_a_known_ratio_is_found(time, clock):
    found = speed.measure([subject(Layers(3, time), "n"), subject(Layers(8, time), "2n")], plan(), clock=clock)
    one, other = (timing.row() for timing in found)
    assert one["median_seconds"] == 4.5
    assert (one["ratio"], one["verdict"], one["baseline"]) == (None, None, "")
    assert other["ratio"] == pytest.approx(9.5 / 4.5)
    assert other["ratio_low"] <= other["ratio"] <= other["ratio_high"]
    assert (other["verdict"], other["baseline"], other["samples"]) == ("slower", "n", 8)
    assert other["samples_seconds"] == [9.5] * 8
    assert other["images_per_second"] == pytest.approx(1 / 9.5)


def test_more_layers_are_slower_on_the_real_clock():
    stacks = [nn.Sequential(*(nn.Conv2d(32, 32, 3, padding=1) for _ in range(n))) for n in (6, 12)]
    few, many = (
        Subject(str(len(stack)), (32, 32), lambda s=stack: s, lambda _, s=stack: s, channels=32) for stack in stacks
    )
    found = speed.measure([few, many], Plan(CPU, Budget(24, 0.0, 5.0), warm_up_seconds=0.1))[1]
    assert found.comparison.verdict == "slower"
    assert found.macs_ratio == 2.0


def test_rows_carry_every_setting_and_are_json(time, clock):
    own = plan(batches=(1, 2), seed=3, execution=Execution("cpu", "float64", "channels_last", 1))
    rows = [timing.row() for timing in speed.measure([subject(Layers(1, time))], own, clock=clock)]
    assert [row["batch"] for row in rows] == [1, 2]
    assert set(rows[0]) >= SETTINGS
    assert (rows[0]["dtype"], rows[0]["memory_format"], rows[0]["seed"]) == ("float64", "channels_last", 3)
    assert (rows[0]["mode"], rows[0]["form"], rows[0]["status"]) == ("eval", "ordinary", "complete")
    assert rows[0]["versions"]["torch"]
    assert rows[0]["processor"]
    assert rows[0]["device_name"]
    assert rows[0]["p90_seconds"] is None
    assert rows[0]["peak_memory_method"]
    assert rows[0]["warm_up_runs"] >= 3
    json.dumps(rows, allow_nan=False)


def test_any_network_can_be_the_baseline(time, clock):
    networks = [subject(Layers(n, time), str(n)) for n in (1, 2, 3)]
    found = speed.measure(networks, plan(), baseline=1, clock=clock)
    assert [timing.baseline for timing in found] == ["2", "", "2"]
    assert [timing.comparison and timing.comparison.verdict for timing in found] == ["faster", None, "slower"]


def test_a_network_against_itself_is_one_network(time, clock):
    made = []

    def make():
        made.append(1)
        return Layers(1, time)

    once = Subject("a", (4, 4), make, lambda device: Layers(1, time))
    found = speed.measure([once, replace(once, label="a (again)")], plan(), clock=clock)
    assert len(made) == 1
    assert found[1].comparison.verdict == "same"


class Hungry(nn.Module):
    """A network that runs out of memory from some batch size, or some pass, on."""

    def __init__(self, time, batch=1, calls=0):
        super().__init__()
        self.time, self.batch, self.calls = time, batch, calls

    def forward(self, x):
        if x.device.type == "cpu":
            self.time["seconds"] += 1.0
            self.calls -= len(x) >= self.batch
            if len(x) >= self.batch and self.calls < 0:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes")
        return x


def hungry(time, **settings):
    model = Hungry(time, **settings)
    return Subject("hungry", (4, 4), lambda: model, lambda device: nn.Identity())


@pytest.mark.parametrize("calls", [0, 10])
def test_out_of_memory_at_one_batch_size_leaves_the_others(time, clock, calls):
    other = subject(Layers(1, time), "other")
    found = speed.measure([other, hungry(time, batch=8, calls=calls)], plan(batches=(8, 1)), clock=clock)
    assert [(t.model, t.batch, t.status) for t in found] == [
        ("other", 8, "complete"),
        ("hungry", 8, "out of memory"),
        ("other", 1, "complete"),
        ("hungry", 1, "complete"),
    ]
    row = found[1].row()
    assert (row["median_seconds"], row["verdict"], row["samples_seconds"]) == (None, None, [])
    assert len(found[0].samples) == 8


def test_out_of_memory_everywhere_is_still_an_answer(time, clock):
    assert [t.status for t in speed.measure([hungry(time)], plan(), clock=clock)] == ["out of memory"]


class Interrupting(nn.Module):
    def __init__(self, at, time):
        super().__init__()
        self.left, self.time = at, time

    def forward(self, x):
        self.time["seconds"] += 1.0
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return x


def interrupting(at, time):
    model = Interrupting(at, time)
    return Subject("interrupted", (4, 4), lambda: model, lambda device: nn.Identity())


def test_an_interrupt_keeps_what_was_measured(time, clock):
    found = speed.measure([interrupting(16, time)], plan(rounds=50, batches=(1, 2)), clock=clock)
    assert [(t.batch, t.status) for t in found] == [(1, "cut short"), (2, "cut short")]
    assert 1 <= len(found[0].samples) < 50
    assert found[1].samples == ()


def test_an_interrupt_at_the_second_batch_size_leaves_the_first_complete(time, clock):
    found = speed.measure([interrupting(19, time)], plan(rounds=8, batches=(1, 2)), clock=clock)
    assert [(t.batch, t.status) for t in found] == [(1, "complete"), (2, "cut short")]


def test_an_interrupt_before_anything_was_measured_is_passed_on(time, clock):
    with pytest.raises(KeyboardInterrupt):
        speed.measure([interrupting(2, time)], plan(), clock=clock)


def test_a_network_that_fails_is_one_line():
    class Failing(nn.Module):
        def forward(self, x):
            raise ValueError("no such thing\nas this")

    network = Subject("failing", (4, 4), Failing, lambda device: nn.Identity())
    with pytest.raises(InputError, match=r"^failing fails at batch 1 in float32: ValueError: as this$"):
        speed.measure([network], plan())


def test_progress_names_what_is_measured(time, clock):
    told = []
    speed.measure([subject(Layers(1, time))], plan(2), clock=clock, progress=lambda *x: told.append(x))
    assert [what for what, _, left in told if left is None] == ["building net", "warming up net at batch 1"]
    assert told[-1][0] == "timing net at batch 1"
    assert told[-1][2] == 0.0


def test_threads_are_as_before_afterwards(time, clock):
    before = torch.get_num_threads()
    speed.measure([subject(Layers(1, time))], plan(1, execution=Execution("cpu", threads=before + 1)), clock=clock)
    assert torch.get_num_threads() == before


def test_training_runs_backward_and_inference_does_not():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(2, 2)
            self.seen = set()

        def forward(self, x):
            self.seen.add((self.training, torch.is_inference_mode_enabled()))
            return {"logits": [self.linear(x)], "count": 3}

    net = Net()
    x = torch.ones(1, 2)
    passes.one_pass(net.train(), x, Execution("cpu", train=True))()
    assert net.linear.weight.grad is not None
    assert net.seen == {(True, False)}
    other = Net().eval()
    passes.one_pass(other, x, CPU)()
    assert other.linear.weight.grad is None
    assert other.seen == {(False, True)}


def test_input_is_random_seeded_and_in_its_format():
    execution = Execution("cpu", "bfloat16", "channels_last")
    x = passes.random_input((2, 3, 8, 8), execution, 5)
    assert x.dtype == torch.bfloat16
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert x.float().std() > 0.5
    assert x.equal(passes.random_input((2, 3, 8, 8), execution, 5))
    assert not x.equal(passes.random_input((2, 3, 8, 8), execution, 6))


def test_the_deploy_form_computes_and_counts_the_same():
    [named] = subjects(["scsc_swin_tiny[depths=1,1,1,1]"])
    fused = deployed(named)
    assert (fused.label, fused.form) == (f"{named.label} (deploy)", "deploy")
    x = passes.random_input((1, 3, 64, 64), CPU, 0)
    with torch.inference_mode():
        ours, theirs = (passes.build(one, CPU, 0)(x) for one in (fused, named))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
    found = speed.measure([named, fused], plan(1, resolution=(64, 64), warm_up_seconds=0.0))
    assert found[1].macs_ratio == 1.0
    assert found[1].row()["form"] == "deploy"


def test_a_network_without_a_deploy_form_says_so():
    [swin] = subjects(["swin_tiny"])
    with pytest.raises(InputError, match=r"swin_tiny: .* has no deploy form"):
        deployed(swin)


@pytest.mark.parametrize("by", ["module", "stage"])
def test_parts_sum_to_the_whole_and_the_unexplained_share_is_a_row(time, clock, by):
    [found] = parts.measure([subject(Layers(3, time))], plan(6), by, clock=clock)
    rows = {row["name"]: row for row in found.rows()}
    expected = {"module": {"layers.0": 1.0, "layers.1": 1.0, "layers.2": 1.0}, "stage": {"layers": 3.0}}[by]
    assert {name: row["median_seconds"] for name, row in rows.items()} == {
        **expected,
        "head": 1.0,
        "unexplained": 0.5,
        "total": 4.5,
    }
    own = [row for name, row in rows.items() if name != "total"]
    assert math.fsum(row["time_share"] for row in own) == pytest.approx(1)
    assert sum(row["macs"] for row in own) == rows["total"]["macs"]
    assert {"by", "device", "threads", "samples_seconds"} <= set(rows["head"])


def test_parts_of_a_real_network_sum_up_and_no_hook_stays():
    [named] = subjects(["scsc_swin_tiny[depths=1,1,1,1]"])
    for by, some in (("stage", "stage3"), ("module", "layers.2")):
        [found] = parts.measure([named], plan(2, resolution=(64, 64), warm_up_seconds=0.0), by)
        rows = {row["name"]: row for row in found.rows()}
        assert rows[some]["median_seconds"] > 0
        own = [row for name, row in rows.items() if name != "total"]
        assert math.fsum(row["median_seconds"] for row in own) == pytest.approx(rows["total"]["median_seconds"])
        assert sum(row["macs"] for row in own) == rows["total"]["macs"]


def test_parts_that_cannot_be_measured(time, clock):
    with pytest.raises(InputError, match="by 'operator': one of module, stage"):
        parts.measure([subject(Layers(1, time))], plan(), "operator")
    with pytest.raises(InputError, match="without training"):
        parts.measure([subject(Layers(1, time))], plan(execution=Execution("cpu", train=True)), "stage")
    [found] = parts.measure([hungry(time)], plan(), "module", clock=clock)
    assert [(row["name"], row["status"]) for row in found.rows()] == [("total", "out of memory")]


def test_an_interrupt_keeps_the_parts_that_were_measured(time, clock):
    found = parts.measure([subject(Layers(1, time)), interrupting(2, time)], plan(2), "module", clock=clock)
    assert [breakdown.whole.status for breakdown in found] == ["complete", "cut short"]
    assert [row["name"] for row in found[1].rows()] == ["total"]
    with pytest.raises(KeyboardInterrupt):
        parts.measure([interrupting(2, time)], plan(2), "module", clock=clock)


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
