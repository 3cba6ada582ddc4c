"""Each option goes to the network that it names: whole texts before bare names, and never to one of several."""

from __future__ import annotations

import pytest

from scsc_lab import InputError
from scsc_lab.models import names


@pytest.mark.parametrize("order", [["swin_tiny[window=14]", "swin_tiny"], ["swin_tiny", "swin_tiny[window=14]"]])
def test_a_bare_name_is_the_bare_network(order, tmp_path):
    file = tmp_path / "weights=1.pth"
    file.write_bytes(b"")
    plain = order.index("swin_tiny")
    labelled = names.networks(order, labels=["Ours=swin"])
    assert labelled[plain].label == "Ours"
    assert not labelled[1 - plain].label
    for name in ("swin_tiny", "swin-t", "Ours"):
        assert names.index_of(name, labelled, "--baseline") == plain
    loaded = names.networks(order, weights=[f"swin_tiny={file}"])
    assert [bool(network.weights) for network in loaded] == [name == "swin_tiny" for name in order]
    loaded = names.networks(order, weights=[f"swin_tiny[window=14]={file}"])
    assert [bool(network.weights) for network in loaded] == [name != "swin_tiny" for name in order]
    with pytest.raises(InputError, match="has weights already"):
        names.networks(order, weights=[f"swin_tiny={file}", f"swin_tiny={file}"])


def test_a_name_of_several_names_none():
    found = names.networks(["swin_tiny[window=8]", "swin_tiny[window=14]"])
    with pytest.raises(InputError, match="stands for 2 of the models"):
        names.index_of("swin_tiny", found, "--baseline")
    with pytest.raises(InputError, match="not among the models"):
        names.index_of("resnet18", found, "--baseline")
