"""A function or class in hand goes wherever a name goes: counted, compared, ablated, initialised anew for each seed."""

from __future__ import annotations

import pytest
from torch import nn

import scsc_lab
from scsc_lab import InputError


def make(width: int = 8) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, width, 3, 2, 1), nn.ReLU(), nn.Conv2d(width, 8, 3, padding=1))


class Net(nn.Sequential):
    def __init__(self, width: int = 8):
        super().__init__(*make(width))


def params(width):
    return 27 * width + width + 72 * width + 8


@pytest.mark.parametrize("factory", [make, Net])
def test_a_factory_is_counted_with_its_arguments(factory):
    assert scsc_lab.count(factory, 32).params == params(8)
    assert scsc_lab.count(factory, 32, width=16).params == params(16)
    assert str(scsc_lab.network(factory, width=16)) == f"{factory.__name__}[width=16]"


def test_a_factory_is_ablated_and_compared_with_a_module():
    table = scsc_lab.ablate(make, {"width": [4, 16]}, metrics=["params"], resolution=32)
    assert list(table["params"]) == [params(8), params(4), params(16)]
    compared = scsc_lab.compare(make, Net, make(4), metrics=["params"], resolution=32)
    assert list(compared["params"]) == [params(8), params(8), params(4)]


def test_the_field_of_a_factory_is_averaged_over_its_initialisations():
    (field,) = scsc_lab.erf(make, 32, layer="2", samples=2, seeds=2)
    assert field.row()["seeds"] == 2
    with pytest.raises(InputError, match="has weights of its own"):
        scsc_lab.erf(make(), 32, layer="2", samples=2, seeds=2)


@pytest.mark.parametrize(
    ("model", "changes", "message"),
    [
        (make, {"widht": 4}, "did you mean width"),
        (lambda: 5, {}, "returned int, not an nn.Module"),
        (["resnet18"], {}, r"model \['resnet18'\]: a name, a module, a function or class"),
    ],
)
def test_what_makes_no_network_is_one_line(model, changes, message):
    with pytest.raises(InputError, match=message):
        scsc_lab.count(model, 32, **changes)
