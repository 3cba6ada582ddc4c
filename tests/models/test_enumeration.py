"""Enumerated spaces against their combinations counted one by one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from scsc_lab.analysis import fronts
from scsc_lab.errors import InputError
from scsc_lab.metrics.size import counted
from scsc_lab.models import enumeration
from scsc_lab.networks import space
from scsc_lab.networks.network import Network

SPACES = [
    ["stage1.kernels=3;3,5", "stage2.kernels=3;3,5;3,5,7", "groups=1,2"],
    ["stage1.groups=1,64,2", "stage2.kernels=3;5", "depths=1,1,1,1;1,2,1,1"],
    ["groups=8,64", "stage1.kernels=3;3,5,7,9", "stage1.groups=1,2"],  # no stage 1 without its own groups
    ["groups=1,2", "se"],
]


def enumerated(texts, name="scsc_swin_pico"):
    return enumeration.enumerate_costs(space.parse(Network.read(name), texts))


@pytest.mark.parametrize("texts", SPACES)
def test_every_combination_costs_what_it_is_counted_at(texts):
    found = enumerated(texts)
    for index, picks in enumerate(itertools.product(*map(range, found.space.sizes))):
        assert found.picks(index) == picks
        try:
            count = counted(found.space.at(picks))
        except InputError:
            assert not found.can_be[index]
            continue
        assert found.can_be[index]
        assert (found.params[index], found.macs[index]) == (count.params, count.macs)


def test_the_front_is_that_of_all_pairs():
    found = enumerated(["stage1.kernels=3;9;3,5", "stage2.kernels=3;5;3,5", "groups=1,2,4", "reduction=0.25,0.5"])
    inside = found.inside_bounds({}, {"macs": np.median(found.macs)})
    xs, ys = found.params[inside].tolist(), found.macs[inside].tolist()
    front = found.front([(found.params, "lower"), (found.macs, "higher")], inside)
    every = np.flatnonzero(inside)[fronts.front(xs, ys, "lower", "higher")]
    assert len(front) > 2
    assert sorted(front) == sorted(every)
    best = found.front([(found.macs, "higher")], inside)
    assert set(found.macs[best]) == {found.macs[inside].max()}


def test_a_million_specs_are_sums_of_few():
    stages = [f"stage{stage}.{key}" for stage in (1, 2, 3) for key in ("kernels=3;5;3,5", "groups", "reduction")]
    found = enumerated([*stages, "stage4.kernels=3;5;3,5;1,3", "stage4.groups=1,2,4", "shuffle"])
    assert found.space.size > 1_000_000
    index = 654_321
    count = counted(found.space.at(found.picks(index)))
    assert (found.params[index], found.macs[index]) == (count.params, count.macs)


def test_a_space_of_nothing_that_can_be_says_why():
    found = enumerated(["groups=500,501"])
    with pytest.raises(InputError, match=r"no combination can be built: .*groups=50"):
        found.nearest("macs", 1e9)


@pytest.mark.parametrize("name", ["scsc_swin_pico (deploy)", "resnet18 + SCSC"])
def test_only_plain_networks_of_the_catalog_are_sums(name):
    network = Network.read(name)
    assert not enumeration.is_exact(space.Space(network, (("groups", ("1", "2")),)))
