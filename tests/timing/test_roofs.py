"""Roofs: parts of known work on a made-up clock, the modules that are timed, and the command."""

from __future__ import annotations

import json

import pytest
import torch
from simulated import Time
from torch import nn

from scsc_lab.cli import main
from scsc_lab.counting.count import count
from scsc_lab.models import construct
from scsc_lab.networks import catalog
from scsc_lab.report import parts
from scsc_lab.settings import Execution
from scsc_lab.timing import roofs
from scsc_lab.timing.roofs import Rate, Roofs

MACHINE = Roofs(Rate(100.0, 90.0, 110.0), Rate(10.0, 9.0, 11.0))  # corner at 10 MACs per byte


@pytest.mark.parametrize(
    ("macs", "moved", "seconds", "least", "bound"),
    [
        (1000, 10, 12.0, 10.0, "compute"),
        (10, 100, 20.0, 10.0, "memory"),
        (100, 10, 1.0, 1.0, "compute"),
        (0, 50, 5.0, 5.0, "memory"),
        (1000, 10, 51.0, 10.0, "overhead"),
        (0, 0, 1.0, 0.0, "overhead"),
    ],
)
def test_a_part_is_bound_by_the_roof_above_it(macs, moved, seconds, least, bound):
    assert MACHINE.least_seconds(macs, moved) == least
    assert MACHINE.bound(macs, moved, seconds) == bound


@pytest.mark.parametrize(("product", "convolution", "rate"), [(2.0, 200.0, 256), (5.0, 100.0, 324)])
def test_rates_are_work_over_the_time_of_the_clock(monkeypatch, product, convolution, rate):
    """torch.mm is MKL's, slower than oneDNN's convolutions on some processors: no roof for them then."""
    time = Time()
    monkeypatch.setattr(torch, "mm", lambda *_, **__: time.spend(product))
    monkeypatch.setattr(nn.functional, "conv2d", lambda *_, **__: time.spend(convolution))
    monkeypatch.setattr(torch.Tensor, "copy_", lambda *_: time.spend(0.5))
    found = roofs.measure(Execution("cpu"), clock=time.clock(), side=8, copied_bytes=4096)
    assert found.macs == Rate(rate, rate, rate)
    assert found.bytes == Rate(16384, 16384, 16384)


def test_a_real_machine_has_roofs():
    found = roofs.measure(Execution("cpu"), side=64, copied_bytes=2**20)
    for rate in (found.macs, found.bytes):
        assert 0 < rate.low <= rate.median <= rate.high


@pytest.mark.parametrize("name", ["swin_pico", "scsc_swin_pico", "resnet_pico"])
def test_every_mac_belongs_to_one_kind_of_module(name):
    entry = catalog.find(name)
    model = construct.empty(entry.spec)
    counted = count(model, (1, 3, *entry.resolution))
    parts = roofs.groups(model, counted)
    names = [module for names in parts.values() for module in names]
    assert len(names) == len(set(names))
    assert not any(inner.startswith(f"{outer}.") for inner in names for outer in names)
    seconds = {**dict.fromkeys(parts, 1.0), "rest": 1.0}
    rows = roofs.places(seconds, parts, counted, MACHINE, "rest")
    assert sum(row["macs"] for row in rows) == counted.macs
    assert sum(row["bytes"] for row in rows) == counted.bytes
    assert "DropPath" not in parts


@pytest.mark.parametrize(
    ("module", "kind"),
    [
        (nn.Conv2d(4, 4, 3, groups=4), "depthwise convolutions"),
        (nn.Conv2d(4, 4, 1), "1×1 convolutions"),
        (nn.Conv2d(4, 4, 3), "convolutions"),
        (nn.Linear(2, 2), "linear layers"),
        (nn.BatchNorm2d(4), "norms"),
        (nn.GELU(), "GELU"),
    ],
)
def test_kinds_tell_convolutions_apart(module, kind):
    assert roofs.kind_of(module) == kind


def placed():
    work = {"linear layers": (500, 10, 6.0), "depthwise convolutions": (120, 1, 10.0), "rest": (0, 9, 1.0)}
    rows = []
    for part, (macs, moved, seconds) in work.items():
        least = MACHINE.least_seconds(macs, moved)
        roof = {"least_seconds": least, "attained": least / seconds, "bound": MACHINE.bound(macs, moved, seconds)}
        rows.append({"part": part, "seconds": seconds, "macs": macs, "bytes": moved, **roof})
    shared = {"device_name": "CPU", "dtype": "float32", "threads": 1, "roofs": MACHINE.row(), "least_seconds": 7.1}
    return {"model": "net", "places": rows, **shared}


def test_a_sentence_says_what_bounds_and_what_is_lost():
    sentence = (
        "net: 59 % of its time is overhead, near neither roof; its depthwise convolutions reach 12 % of the roof."
    )
    assert parts.sentence(placed()) == sentence
    assert parts.notes([placed()])[0] == sentence
    assert parts.notes([{"model": "net"}]) == []


def test_a_report_has_a_section_where_a_network_has_places():
    (section,) = parts.roofline_section([placed(), {"model": "other"}])
    assert section.title == "Why time does not follow MACs"
    assert [row["part"] for row in section.blocks[0].table.rows] == [
        "linear layers",
        "depthwise convolutions",
        "rest",
        "all",
    ]
    assert parts.roofline_section([{"model": "other"}]) == []


def test_the_figure_has_the_roofs_and_a_mark_per_kind_that_multiplies():
    (axes,) = parts.draw_roofline([placed()]).axes
    marks = [line for line in axes.lines if len(line.get_xdata()) == 1]
    assert sorted(line.get_xdata()[0] for line in marks) == [50, 120]
    assert max(axes.lines[0].get_ydata()) == pytest.approx(100 / 1e9)


def test_the_command(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(roofs, "SIDE", 64)
    monkeypatch.setattr(roofs, "COPIED_BYTES", 2**20)
    words = f"roofline scsc_swin_pico --pairs 2 --max-time 0.1 --format json --plot {tmp_path}/r.png"
    assert main(words.split()) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["roof_share"] > 0
    assert {place["part"] for place in row["places"]} >= {"depthwise convolutions", "linear layers", "between modules"}
    assert (tmp_path / "r.png").exists()
