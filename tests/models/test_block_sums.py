"""Sums over blocks are the full count, to the last parameter and the last MAC."""

from __future__ import annotations

import random

import pytest

from scsc_lab.counting.count import count
from scsc_lab.errors import InputError
from scsc_lab.models import construct
from scsc_lab.networks import catalog
from scsc_lab.networks.specs import ResNetSpec, SCSCSpec, SwinSpec


def full(spec, resolution):
    counted = count(construct.empty(spec), (1, 3, *resolution))
    return counted.params, counted.macs


def random_scsc(draw):
    kernels = tuple(draw.sample([1, 3, 5, 7, 9, 13], draw.randint(1, 3)))
    switches = {name: draw.random() < 0.5 for name in ("shuffle", "gates", "se", "activation")}
    return SCSCSpec(kernels, draw.choice([1, 2, 3, 4]), reduction=draw.choice([0.0, 0.0, 0.3, 0.5, 1.5]), **switches)


def random_spec(draw):
    stages = draw.choice([1, 1, 2, 2, 2, 4])
    depths = tuple(draw.choice([1, 1, 2]) for _ in range(stages))
    scsc = tuple(random_scsc(draw) for _ in depths)
    where = tuple(stage for stage in range(1, stages + 1) if draw.random() < 0.6)
    shared = {"depths": depths, "outputs": draw.choice([1, 10]), "scsc": scsc, "scsc_stages": where}
    if draw.random() < 0.5:
        heads = tuple(draw.choice([1, 2]) for _ in depths)
        ratio, patch = draw.choice([1.0, 2.5, 4.0]), draw.choice([2, 3, 4])
        return SwinSpec(
            draw.choice([12, 20, 24]),
            heads=heads,
            window=draw.choice([2, 3, 7]),
            mlp_ratio=ratio,
            patch=patch,
            **shared,
        )
    widths = tuple(draw.choice([16, 24, 36]) for _ in depths)
    return ResNetSpec(
        widths=widths,
        bottleneck_widths=tuple(draw.choice([12, 16, 20]) for _ in depths),
        block=draw.choice(["basic", "bottleneck"]),
        strides=tuple(draw.choice([1, 2]) for _ in depths),
        stem=draw.choice(["conv7_pool", "conv3"]),
        stem_width=draw.choice([12, 16]),
        head_bias=draw.random() < 0.5,
        scsc_replaces=draw.choice(["block", "spatial"]),
        **shared,
    )


@pytest.mark.parametrize("seed", range(4))
def test_a_hundred_random_specs_each(seed):
    draw, compared = random.Random(seed), 0
    while compared < 100:
        resolution = (draw.randint(24, 70), draw.randint(24, 70))
        try:
            spec = random_spec(draw)
        except InputError:
            continue
        assert construct.cost(spec, resolution) == full(spec, resolution), (spec, resolution)
        compared += 1


@pytest.mark.parametrize("name", ["resnet18", "scsc_resnet50", "swin_tiny", "scsc_swin_tiny", "scsc_faceresnet"])
def test_networks_of_the_catalog(name):
    entry = catalog.find(name)
    assert construct.cost(entry.spec, entry.resolution) == full(entry.spec, entry.resolution)


def test_a_block_is_counted_once(monkeypatch):
    counted = []
    monkeypatch.setattr(construct, "count", lambda *args, **keywords: counted.append(args) or count(*args, **keywords))
    spec = catalog.find("scsc_swin_pico").spec
    construct.cost(spec, (53, 47))
    first = len(counted)
    construct.cost(spec, (53, 47))
    assert first
    assert len(counted) == first
