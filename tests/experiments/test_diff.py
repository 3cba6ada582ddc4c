"""Two networks side by side: nothing lost, nothing twice, equal names together."""

from __future__ import annotations

import pytest
from torch import nn

from scsc_lab.counting.count import count
from scsc_lab.experiments import compare
from scsc_lab.networks.network import Network

PAIRS = [("swin", "scsc_swin"), ("resnet50", "scsc_resnet50"), ("resnet18", "resnet34"), ("resnet50", "swin")]
KEYS = ("params", "macs", "activations", "bytes")


@pytest.mark.parametrize("by", ["stage", "module"])
@pytest.mark.parametrize("names", PAIRS, ids="-".join)
def test_differences_sum_to_the_totals(names, by):
    *rows, total = compare.side_by_side([Network.read(name) for name in names], by)
    for key in ("params", "macs", "activations"):
        for side in ("first", "second"):
            assert sum(row[f"{key}_{side}"] or 0 for row in rows) == total[f"{key}_{side}"]
        assert sum(row[f"{key}_difference"] for row in rows) == total[f"{key}_difference"]
        assert total[f"{key}_difference"] == total[f"{key}_second"] - total[f"{key}_first"]


def test_blocks_of_equal_names_stand_together():
    rows = compare.side_by_side([Network.read("swin"), Network.read("scsc_swin")], "module")
    names = [row["name"] for row in rows]
    assert "layers.2.blocks.5" in names
    assert len(names) == len(set(names))
    assert all(row["macs_first"] is not None and row["macs_second"] is not None for row in rows)


def test_blocks_that_one_side_lacks_stand_alone():
    rows = {
        row["name"]: row for row in compare.side_by_side([Network.read("resnet18"), Network.read("resnet34")], "module")
    }
    assert rows["layer3.5"]["macs_first"] is None
    assert rows["layer3.5"]["macs_difference"] == rows["layer3.5"]["macs_second"]


def test_as_many_blocks_of_other_names_go_together_in_order():
    first = nn.Sequential(nn.Sequential(nn.Linear(2, 2)), nn.Sequential(nn.Linear(2, 3)))

    class Other(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = nn.Sequential(nn.Sequential(nn.Linear(2, 4)), nn.Sequential(nn.Linear(4, 3)))

        def forward(self, x):
            return self.parts(x)

    second = Other()
    rows = compare.aligned([first, second], [count(model, (1, 2)) for model in (first, second)], "module")
    assert [row["name"] for row in rows] == ["0 → parts.0", "1 → parts.1", "total"]
    assert [row["macs_difference"] for row in rows] == [4, 6, 10]


def test_what_a_module_does_between_its_parts_is_a_row():
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = nn.Sequential(nn.Sequential(nn.Linear(3, 3)))
            self.scale = nn.Parameter(nn.init.ones_(nn.Linear(3, 3).weight))

        def forward(self, x):
            return self.parts(x) @ self.scale

    model = Outer()
    parts = {part.name: part for part in compare.blocks(model, count(model, (1, 3)))}
    assert set(parts) == {"network (between its parts)", "parts.0"}
    assert parts["network (between its parts)"].macs == 9
    assert parts["network (between its parts)"].params == 9
