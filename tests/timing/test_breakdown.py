"""The parts of a module: they sum up to the whole, whatever the module is made of."""

from __future__ import annotations

import contextlib
import math

import pytest
from simulated import Hungry, Layer, Layers, Raising, Time, candidate, plan
from torch import nn

from scsc_lab import InputError
from scsc_lab.settings import Execution
from scsc_lab.timing import breakdown


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def clock(time):
    return time.clock()


STAGES = ({"body": ("layers",), "end": ("head",)},)


@pytest.mark.parametrize(
    ("stages", "expected"),
    [((), {"layers.0": 1.0, "layers.1": 1.0, "layers.2": 1.0, "head": 1.0}), (STAGES, {"body": 3.0, "end": 1.0})],
)
def test_parts_sum_to_the_whole_and_the_unexplained_share_is_a_row(time, clock, stages, expected):
    [found] = breakdown.measure([candidate(Layers(3, time))], plan(6), "part", stages, clock=clock)
    rows = {row["name"]: row for row in found.rows()}
    assert {name: row["median_seconds"] for name, row in rows.items()} == {**expected, "unexplained": 0.5, "total": 4.5}
    own = [row for name, row in rows.items() if name != "total"]
    assert math.fsum(row["time_share"] for row in own) == pytest.approx(1)
    assert {"by", "device", "threads", "samples_seconds", "iqr_seconds"} <= set(rows["total"])
    assert {row["samples"] for row in own if row["name"] != "unexplained"} == {6}


def test_items_of_a_module_list_are_watched_in_its_place(time, clock):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stages = nn.ModuleList(nn.ModuleList(Layer(time) for _ in range(2)) for _ in range(2))
            self.ends = nn.ModuleDict({"head": Layer(time)})

        def forward(self, x):
            for stage in self.stages:
                for layer in stage:
                    x = layer(x)
            return self.ends["head"](x)

    stages = ({"stages": ("stages",), "ends": ("ends",)},)
    [found] = breakdown.measure([candidate(Net())], plan(4), "stage", stages, clock=clock)
    assert {row["name"]: row["time_share"] for row in found.rows()} == {
        "stages": 0.8, "ends": pytest.approx(0.2), "unexplained": pytest.approx(0.0), "total": 1.0,
    }  # fmt: skip


class Broken(Layer):
    """Raises when its time is spent."""

    def forward(self, x):
        super().forward(x)
        raise ValueError


class Within(nn.Module):
    """Calls a layer that is a part too, and goes on where another one raises."""

    def __init__(self, time, stem, broken):
        super().__init__()
        self.time, self.stem, self.broken, self.last = time, stem, broken, Layer(time)

    def forward(self, x):
        x = self.stem(self.stem(x))
        with contextlib.suppress(ValueError):
            self.broken(x)
        return self.last(x)


def test_a_part_that_another_one_calls_is_counted_once(time, clock):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.broken = Layer(time), Broken(time)
            self.head = Within(time, self.stem, self.broken)

        def forward(self, x):
            return self.head(self.stem(x))

    [found] = breakdown.measure([candidate(Net())], plan(4), "module", clock=clock)
    seconds = {row["name"]: row["median_seconds"] for row in found.rows()}
    assert seconds == {"stem": 3.0, "broken": 1.0, "head": 1.0, "unexplained": 0.0, "total": 5.0}
    kinds = ({"layers": ("stem", "head.stem", "head.last"), "broken": ("broken",)},)  # a layer under both of its names
    [found] = breakdown.measure([candidate(Net())], plan(4), "module", kinds, clock=clock)
    seconds = {row["name"]: row["median_seconds"] for row in found.rows()}
    assert seconds == {"layers": 4.0, "broken": 1.0, "unexplained": 0.0, "total": 5.0}


def test_no_hook_stays_and_short_passes_are_repeated_with_their_parts(time):
    net = Layers(2, time)
    [found] = breakdown.measure([candidate(net)], plan(3), "module", clock=time.clock(10.0))
    assert found.latency.repeats >= 3
    assert {len(times) for times in found.parts.values()} == {3 * found.latency.repeats}
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_parts_that_cannot_be_measured(time, clock):
    with pytest.raises(InputError, match="without training"):
        breakdown.measure([candidate(Layers(1, time))], plan(execution=Execution("cpu", train=True)), "stage")
    [found] = breakdown.measure([candidate(Hungry(time))], plan(), "module", clock=clock)
    assert [(row["name"], row["status"]) for row in found.rows()] == [("total", "out of memory")]
    with pytest.raises(InputError, match="net fails at batch 1 in float32: SystemExit: 3"):
        breakdown.measure([candidate(Raising(2, time, SystemExit(3)))], plan(), "module", clock=clock)


def test_an_interrupt_keeps_the_parts_that_were_measured(time, clock):
    networks = [candidate(Layers(1, time)), candidate(Raising(2, time))]
    found = breakdown.measure(networks, plan(2), "module", clock=clock)
    assert [breakdown.latency.status for breakdown in found] == ["complete", "cut short"]
    assert [row["name"] for row in found[1].rows()] == ["total"]
    with pytest.raises(KeyboardInterrupt):
        breakdown.measure([candidate(Raising(2, time))], plan(2), "module", clock=clock)
