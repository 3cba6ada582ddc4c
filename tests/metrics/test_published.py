"""A published figure stands only beside the network and the input size that it was published for."""

from __future__ import annotations

import pytest

from scsc_lab.metrics import published
from scsc_lab.networks.network import Network


@pytest.mark.parametrize(
    ("name", "size", "has_figure"),
    [
        ("resnet18", None, True),
        ("resnet18", (224, 224), True),
        ("resnet18", (128, 128), False),
        ("scsc_swin_tiny", None, False),
    ],
)
def test_only_at_its_own_size(name, size, has_figure):
    network = Network.read(name) if size is None else Network(name, resolution=size)
    (row,) = published.measure([network], None, lambda *_: None)
    assert (row["published_top1"] is not None) == has_figure
    shown = published.at_its_own_size({"model": name, "resolution": list(size or (224, 224)), **row})
    assert (shown["published_top1"] is not None) == has_figure


def test_a_stored_row_of_another_size_loses_its_figure():
    row = {"model": "Ours", "network": "resnet18", "published_top1": 69.758, "published_source": "torchvision"}
    assert published.at_its_own_size({**row, "resolution": [224, 224]})["published_top1"] == 69.758
    assert published.at_its_own_size({**row, "resolution": [128, 128]})["published_top1"] is None
