"""The layout a network is faster in: known on a made-up clock, and what rows say about it."""

from __future__ import annotations

import pytest
import torch
from simulated import Time, candidate, plan
from torch import nn

from scsc_lab import InputError
from scsc_lab.settings import Execution
from scsc_lab.timing import latency, ready

AUTO = Execution("cpu")


class Particular(nn.Module):
    """A network that takes more or less time where its input and its weights are channels-last."""

    def __init__(self, time, contiguous=1.0, channels_last=1.0):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.time, self.seconds = time, {False: contiguous, True: channels_last}
        self.seen = []

    def forward(self, x):
        last = [y.is_contiguous(memory_format=torch.channels_last) for y in (x, self.conv.weight)]
        assert last[0] == last[1]
        self.seen.append(last[0])
        self.time.spend(self.seconds[last[0]])
        return x


@pytest.mark.parametrize(
    ("contiguous", "channels_last", "chosen"),
    [(1.0, 0.5, "channels_last"), (0.5, 1.0, "contiguous"), (1.0, 1.0, "contiguous"), (1.0, 0.985, "channels_last")],
)
def test_each_network_runs_in_the_layout_it_is_faster_in(contiguous, channels_last, chosen):
    time = Time()
    net = Particular(time, contiguous, channels_last)
    row = latency.measure([candidate(net)], plan(execution=AUTO), clock=time.clock())[0].row()
    assert (row["memory_format"], row["memory_format_asked"]) == (chosen, "auto")
    tried = {"contiguous": contiguous, "channels_last": channels_last}
    assert row["memory_format_seconds"] == pytest.approx(tried)
    assert row["median_seconds"] == pytest.approx(tried[chosen])
    assert set(net.seen[-8:]) == {chosen == "channels_last"}


def test_a_ratio_compares_the_best_of_both():
    time = Time()
    pair = [candidate(Particular(time, 1.0, 3.0), "a"), candidate(Particular(time, 4.0, 2.0), "b")]
    one, other = (timing.row() for timing in latency.measure(pair, plan(execution=AUTO), clock=time.clock()))
    assert (one["memory_format"], other["memory_format"]) == ("contiguous", "channels_last")
    assert other["ratio"] == 2.0


@pytest.mark.parametrize("given", ["contiguous", "channels_last"])
def test_a_layout_that_is_given_is_the_only_one_tried(given):
    time = Time()
    net = Particular(time, 1.0, 1.0)
    row = latency.measure([candidate(net)], plan(execution=Execution("cpu", memory_format=given)), clock=time.clock())
    assert set(net.seen) == {given == "channels_last"}
    assert row[0].row()["memory_format"] == given


@pytest.mark.parametrize(("noise", "seconds"), [(0.3, 0.6), (0.05, 0.97)])
def test_noise_does_not_hide_the_faster_layout(noise, seconds):
    """Of two equal networks, one in a layout that is 3 % slower than the other's would be a difference that is none."""
    for seed in range(20):
        time = Time(noise, seed=seed)

        def run_in(layout, time=time):
            return lambda: time.spend(seconds if layout == "channels_last" else 1.0)

        assert ready.compare(run_in, time.clock(), 1e9).faster == "channels_last"


def test_turns_end_when_more_of_them_would_not_matter():
    time = Time()
    distinct = ready.compare(lambda layout: lambda: time.spend(len(layout)), time.clock(), 1e9)
    assert (distinct.faster, len(distinct.ratios)) == ("contiguous", 3)
    turns = {}
    for noise in (0.005, 0.2):
        clocks = [Time(noise, seed=seed) for seed in range(20)]
        tried = [ready.compare(lambda layout, t=t: lambda: t.spend(1.0), t.clock(), 1e9) for t in clocks]
        turns[noise] = [len(layouts.ratios) for layouts in tried]
    assert max(turns[0.005]) < 6
    assert sum(number == 15 for number in turns[0.2]) > 12
    still = ready.compare(lambda layout: lambda: None, time.clock(), 0.0)
    assert (still.faster, still.ratios) == ("contiguous", [])


class Viewing(nn.Module):
    def forward(self, x):
        return x.view(-1)


def test_a_network_that_cannot_run_channels_last_runs_contiguous():
    [found] = latency.measure([candidate(Viewing())], plan(2, execution=AUTO, warm_up_seconds=0.0))
    assert found.row()["memory_format"] == "contiguous"
    assert set(found.row()["memory_format_seconds"]) == {"contiguous"}
    wanted = plan(2, execution=Execution("cpu", memory_format="channels_last"), warm_up_seconds=0.0)
    with pytest.raises(InputError, match=r"^net fails at batch 1 in float32: RuntimeError: view size"):
        latency.measure([candidate(Viewing())], wanted)


def test_weights_that_know_no_channels_last_run_contiguous():
    class Volume(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.point = nn.Conv3d(1, 2, 1), nn.Conv2d(3, 3, 3)

        def forward(self, x):
            return self.conv(self.point(x).unsqueeze(1))

    net = Volume()
    [found] = latency.measure([candidate(net)], plan(2, execution=AUTO, warm_up_seconds=0.0))
    assert found.row()["memory_format"] == "contiguous"
    assert net.point.weight.is_contiguous()


def test_a_network_against_itself_has_one_layout():
    time = Time(0.2)
    once = candidate(Particular(time, 1.0, 0.99))
    found = latency.measure([once, once], plan(execution=AUTO), clock=time.clock())
    assert len({timing.execution.memory_format for timing in found}) == 1
