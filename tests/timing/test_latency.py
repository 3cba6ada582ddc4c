"""Modules side by side: rows, comparisons, memory that runs out, interrupts, and everything that a forward can do."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import pytest
import torch
from simulated import CPU, Hungry, Layer, Layers, Raising, Time, candidate, plan
from torch import nn

from scsc_lab import InputError, metrics, units
from scsc_lab.execution import hardware, passes
from scsc_lab.metrics.latency_notes import machine_notes
from scsc_lab.networks.values import InputTensor
from scsc_lab.settings import Execution, Settings, Timing
from scsc_lab.timing import latency
from scsc_lab.timing.result import Candidate

SETTINGS = {"device", "dtype", "memory_format", "threads", "compile", "mode", "form", "batch", "resolution", "seed"}
SETTINGS |= {"delta", "resamples", "pairs", "min_seconds", "max_seconds", "warm_up_max_seconds", "memory_format_asked"}


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def clock(time):
    return time.clock()


def test_a_known_ratio_is_found_against_any_baseline(time, clock):
    networks = [candidate(Layers(3, time), "n"), candidate(Layers(8, time), "2n")]
    one, other = (timing.row() for timing in latency.measure(networks, plan(), clock=clock))
    assert one["median_seconds"] == 4.5
    assert (one["ratio"], one["verdict"], one["baseline"]) == (None, None, "")
    assert other["ratio"] == pytest.approx(9.5 / 4.5)
    assert other["ratio_low"] <= other["ratio"] <= other["ratio_high"]
    assert (other["verdict"], other["baseline"], other["samples"], other["pairs_used"]) == ("slower", "n", 8, 8)
    assert other["samples_seconds"] == [9.5] * 8
    assert other["images_per_second"] == pytest.approx(1 / 9.5)
    one, other = latency.measure(networks, plan(), baseline=1, clock=clock)
    assert (one.baseline, one.comparison.verdict, other.baseline, other.comparison) == ("2n", "faster", "", None)
    row = latency.measure(networks, plan(1), clock=clock)[1].row()  # one pair has a ratio and no interval
    assert (row["ratio"], row["ratio_low"], row["verdict"]) == (pytest.approx(9.5 / 4.5), None, "inconclusive")


def test_more_layers_are_slower_on_the_real_clock():
    stacks = [nn.Sequential(*(nn.Conv2d(32, 32, 3, padding=1) for _ in range(n))) for n in (6, 12)]
    few, many = (candidate(stack, str(len(stack)), side=32, channels=32) for stack in stacks)
    found = latency.measure([few, many], Settings(Execution("cpu"), Timing(96, 0.0, 9.0, warm_up_seconds=0.1)))[1]
    assert found.comparison.verdict == "slower"


def test_rows_carry_every_setting_and_are_json(time, clock):
    own = plan(batches=(1, 2), seed=3, execution=Execution("cpu", "float64", "channels_last", 1))
    rows = [timing.row() for timing in latency.measure([candidate(Layers(1, time))], own, clock=clock)]
    assert [row["batch"] for row in rows] == [1, 2]
    assert set(rows[0]) >= SETTINGS
    assert (rows[0]["dtype"], rows[0]["memory_format"], rows[0]["seed"]) == ("float64", "channels_last", 3)
    assert (rows[0]["memory_format_asked"], rows[0]["memory_format_seconds"]) == ("channels_last", {})
    assert (rows[0]["mode"], rows[0]["form"], rows[0]["status"]) == ("eval", "ordinary", "complete")
    assert rows[0]["versions"]["torch"]
    assert rows[0]["processor"]
    assert rows[0]["device_name"]
    assert rows[0]["p90_seconds"] is None
    assert rows[0]["peak_memory_method"]
    assert rows[0]["warm_up_runs"] >= 3
    json.dumps(rows, allow_nan=False)


def test_rows_say_how_busy_the_machine_was(time, clock, monkeypatch):
    averages = iter([0.5, 3.25])
    monkeypatch.setattr(hardware.os, "getloadavg", lambda: (next(averages), 9.0, 9.0))
    [row] = [timing.row() for timing in latency.measure([candidate(Layer(time))], plan(), clock=clock)]
    assert (row["load"], row["load_before"], row["load_after"]) == (3.25, 0.5, 3.25)
    assert row["cores"] >= 1
    assert row["spread"] == 1.0
    monkeypatch.delattr(hardware.os, "getloadavg")
    [row] = [timing.row() for timing in latency.measure([candidate(Layer(time))], plan(), clock=clock)]
    assert row["load"] is None
    assert row["is_busy"] is False


def test_a_machine_that_is_too_busy_gives_no_verdict(time, clock, monkeypatch):
    two = [candidate(Layer(time), "a"), candidate(Layers(2, time), "b")]
    monkeypatch.setattr(hardware.os, "getloadavg", lambda: (hardware.cores() + 0.1,) * 3)
    found = latency.measure(two, plan(), clock=clock)
    assert found[1].comparison.verdict == "withheld"
    row = found[1].row()
    assert (row["verdict"], row["is_busy"]) == ("withheld", True)
    assert row["ratio_low"] <= row["ratio"] <= row["ratio_high"]
    assert any("BUSY MACHINE" in note and "No verdicts" in note for note in machine_notes([row]))
    monkeypatch.setattr(hardware.os, "getloadavg", lambda: (float(hardware.cores()),) * 3)
    assert latency.measure(two, plan(), clock=clock)[1].row()["verdict"] == "slower"


def test_a_ratio_has_the_time_of_the_baseline_in_its_pairs(time, clock):
    _, other = latency.measure([candidate(Layer(time), "a"), candidate(Layers(2, time), "b")], plan(), clock=clock)
    row = other.row()
    assert row["median_seconds"] / row["baseline_seconds"] == pytest.approx(row["ratio"])
    shown = metrics.columns()["latency"].change.column.cell(row)
    assert shown.endswith(f" of {units.milliseconds(row['baseline_seconds'])} ms")


def test_a_deploy_form_is_compared_with_its_ordinary_form_too(time, clock):
    networks = [candidate(Layers(n, time), str(n)) for n in (1, 7)]
    networks.append(candidate(Layers(3, time), "7 (deploy)", form="deploy", ordinary=1))
    row = latency.measure(networks, plan(), clock=clock)[2].row()
    assert (row["baseline"], row["ratio"]) == ("1", pytest.approx(4.5 / 2.5))
    assert (row["ordinary"], row["ordinary_ratio"]) == ("7", pytest.approx(4.5 / 8.5))
    assert (row["ordinary_verdict"], row["verdict"]) == ("faster", "slower")


def test_a_network_against_itself_is_one_network(time, clock):
    made = []

    def make():
        made.append(1)
        return Layers(1, time)

    once = Candidate("a", make, (4, 4))
    found = latency.measure([once, replace(once, label="a (again)")], plan(), clock=clock)
    assert len(made) == 1
    assert [timing.model for timing in found] == ["a", "a (again)"]
    assert found[1].comparison.verdict == "same"
    latency.measure([once, replace(once, resolution=(8, 8))], plan(), clock=clock)
    assert len(made) == 3  # two inputs, two networks: each may have its own layout


@pytest.mark.parametrize("calls", [0, 10])
def test_out_of_memory_at_one_batch_size_leaves_the_others(time, clock, calls):
    networks = [candidate(Layers(1, time), "other"), candidate(Hungry(time, 8, calls), "hungry")]
    found = latency.measure(networks, plan(batches=(8, 1)), clock=clock)
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
    automatic = plan(execution=Execution("cpu"))
    [found] = latency.measure([candidate(Hungry(time))], automatic, clock=clock)
    assert found.status == "out of memory"
    assert found.row()["memory_format"] is None


@pytest.mark.parametrize(("at", "rounds", "first"), [(16, 50, "cut short"), (19, 8, "complete")])
def test_an_interrupt_keeps_what_was_measured(time, clock, at, rounds, first):
    found = latency.measure([candidate(Raising(at, time))], plan(rounds=rounds, batches=(1, 2)), clock=clock)
    assert [(t.batch, t.status) for t in found] == [(1, first), (2, "cut short")]
    assert 1 <= len(found[0].samples) <= rounds
    assert found[1].samples == ()


def test_an_interrupt_before_anything_was_measured_is_passed_on(time, clock):
    with pytest.raises(KeyboardInterrupt):
        latency.measure([candidate(Raising(2, time))], plan(), clock=clock)


@pytest.mark.parametrize("error", [ValueError("no such thing\nas this"), SystemExit(0), GeneratorExit("gone")])
@pytest.mark.parametrize("at", [1, 12])
def test_a_forward_that_fails_or_exits_is_one_line(time, clock, error, at):
    message = {ValueError: "ValueError: as this", SystemExit: "SystemExit: 0", GeneratorExit: "GeneratorExit: gone"}
    with pytest.raises(InputError, match=rf"^failing fails at batch 1 in float32: {message[type(error)]}$"):
        latency.measure([candidate(Raising(at, time, error), "failing")], plan(), clock=clock)


@pytest.mark.parametrize("at", [1, 12])
def test_one_that_fails_is_a_row_and_the_others_are_timed(time, clock, at):
    def unmade():
        raise ValueError("no weights")

    def failing():
        return candidate(Raising(at, time, ValueError("no such thing")), "failing")

    others = [candidate(Layers(number, time), str(number)) for number in (1, 2)]
    found = latency.measure([others[0], failing(), Candidate("unmade", unmade, (4, 4)), others[1]], plan(), clock=clock)
    assert [timing.status for timing in found] == ["complete", "failed", "failed", "complete"]
    assert found[1].failure == "failing fails at batch 1 in float32: ValueError: no such thing"
    assert found[2].row()["failure"] == "unmade cannot be made: ValueError: no weights"
    assert found[3].comparison.ratio == pytest.approx(3.5 / 2.5)
    first, *rest = latency.measure([failing(), *others], plan(), clock=clock)
    assert (first.status, [timing.comparison for timing in rest]) == ("failed", [None, None])
    assert all(len(timing.samples) == 8 for timing in rest)


class Meeting(nn.Module):
    """A network whose passes end only where several run at once."""

    def __init__(self, passes):
        super().__init__()
        self.barrier = threading.Barrier(passes)

    def forward(self, x):
        self.barrier.wait(60)
        return x


def test_streams_run_passes_at_once():
    settings = Settings(replace(CPU, streams=4), Timing(5, 0.0, 60.0, warm_up_seconds=0.0))
    (found,) = latency.measure([candidate(Meeting(4))], settings)
    row = found.row()
    assert (row["status"], row["streams"], row["samples"]) == ("complete", 4, 5)
    assert row["images_per_second"] == pytest.approx(4 / row["median_seconds"])
    with pytest.raises(InputError, match="leave --train out"):
        latency.measure([candidate(Meeting(2))], replace(settings, execution=replace(CPU, streams=2, train=True)))


@pytest.mark.parametrize(("percentiles", "rounds"), [((90,), 64), ((90, 95), 130), ((99,), 662)])
def test_percentiles_decide_the_rounds(time, clock, percentiles, rounds):
    (found,) = latency.measure([candidate(Layers(1, time))], plan(None, percentiles=percentiles), clock=clock)
    row = found.row()
    assert row["samples"] == rounds
    assert all(row[f"p{percent}_seconds"] == pytest.approx(2.5) for percent in percentiles)
    assert row["p99_seconds"] == (pytest.approx(2.5) if rounds == 662 else None)


def test_what_cannot_be_made_is_one_line(time, clock):
    def leaving():
        raise SystemExit

    with_lock = Layer(time)
    with_lock.lock = threading.Lock()
    with torch.inference_mode():
        frozen = nn.Conv2d(3, 4, 3)
    for make, message in [
        (leaving, "net cannot be made: SystemExit"),
        (lambda: __import__("copy").deepcopy(with_lock), "net cannot be made: TypeError: cannot pickle .*lock"),
        (lambda: nn.LazyConv2d(4, 3), "net has lazy modules, .*: run it once"),
        (lambda: frozen, "net was made in inference mode: make it outside"),
    ]:
        with pytest.raises(InputError, match=f"^{message}") as caught:
            latency.measure([Candidate("net", make, (4, 4))], plan(), clock=clock)
        assert "\n" not in str(caught.value)
    assert latency.measure([candidate(with_lock)], plan(), clock=clock)[0].samples


def test_a_clock_that_stands_still_gives_no_ratio(time, clock):
    networks = [candidate(nn.Identity(), "a"), candidate(nn.Identity(), "b")]
    found = latency.measure(networks, plan(2, warm_up_seconds=0.0), clock=clock)
    assert [timing.comparison for timing in found] == [None, None]
    json.dumps([timing.row() for timing in found], allow_nan=False)


def test_progress_names_what_is_measured(time, clock):
    told = []
    latency.measure([candidate(Layers(1, time))], plan(2), clock=clock, progress=lambda *x: told.append(x))
    assert [what for what, _, left in told if left is None] == ["building net", "warming up net at batch 1"]
    assert told[-1][0] == "timing net at batch 1"
    assert told[-1][2] == 0.0


def test_threads_are_as_before_afterwards(time, clock):
    before = torch.get_num_threads()
    execution = replace(CPU, threads=before + 1)
    latency.measure([candidate(Layers(1, time))], plan(1, execution=execution), clock=clock)
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
    passes.one_pass(net.train(), ((x,), {}), Execution("cpu", train=True))()
    assert net.linear.weight.grad is not None
    assert net.seen == {(True, False)}
    other = Net().eval()
    passes.one_pass(other, ((), {"x": x}), CPU)()
    assert other.linear.weight.grad is None
    assert other.seen == {(False, True)}


def test_input_is_random_seeded_and_in_its_format():
    execution = Execution("cpu", "bfloat16", "channels_last")
    x, again, other = (
        passes.random_input(InputTensor((2, 3, 8, 8)), execution, torch.Generator().manual_seed(seed))
        for seed in (5, 5, 6)
    )
    assert x.dtype == torch.bfloat16
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert x.float().std() > 0.5
    assert x.equal(again)
    assert not x.equal(other)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, of its own compiler
def test_a_compiled_network_is_timed(tmp_path, monkeypatch):
    import shutil

    if not any(shutil.which(compiler) for compiler in ("c++", "g++", "clang++")):
        pytest.skip("torch.compile needs a compiler")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    execution = Execution("cpu", memory_format="contiguous")
    compiled = candidate(net, side=8, runtime="compile")
    [found] = latency.measure([compiled], Settings(execution, Timing(2, 0.0, 1.0, warm_up_seconds=0.0)))
    row = found.row()
    assert (row["compile"], row["status"], row["samples"]) == (True, "complete", 2)
    assert row["warm_up_first_seconds"] > 3 * row["median_seconds"]  # it has really been compiled


@pytest.mark.parametrize(
    ("layers", "timing", "pairs"),
    [
        ((3, 8), {}, 12),  # a clear verdict at the first look
        ((3, 3), {}, 12),  # the same, to the digit
        ((3, 8), {"pairs": 30}, 30),
        ((3, 8), {"precision": 0.01}, 12),
        ((3,), {}, 64),  # nothing to compare: all rounds
    ],
)
def test_timing_stops_when_every_comparison_is_clear(time, clock, layers, timing, pairs):
    candidates = [candidate(Layers(number, time), str(at)) for at, number in enumerate(layers)]
    settings = Settings(CPU, Timing(min_seconds=0.0, max_seconds=1e6, **timing))
    found = latency.measure(candidates, settings, clock=clock)
    assert len(found[0].samples) == pairs
    assert found[-1].row()["confidence"] == (
        0.95 if "pairs" in timing else pytest.approx(1 - 0.05 / len(settings.timing.looks))
    )


def test_noise_is_timed_until_the_interval_is_narrow(clock):
    noisy = Time(noise=0.1)
    candidates = [candidate(Layers(number, noisy), str(number)) for number in (3, 4)]
    lengths = []
    for precision in (0.1, 0.02):
        settings = Settings(CPU, Timing(min_seconds=0.0, max_seconds=1e9, precision=precision))
        other = latency.measure(candidates, settings, clock=noisy.clock())[1]
        assert other.comparison.is_within(precision)
        lengths.append(len(other.samples))
    assert lengths[0] < lengths[1]
