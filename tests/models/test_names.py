"""Each option goes to the network that it names: whole texts before bare names, and never to one of several."""

from __future__ import annotations

import json

import pytest

import scsc_lab
from scsc_lab import InputError
from scsc_lab.cli import main
from scsc_lab.models import names
from scsc_lab.networks.network import Network


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


@pytest.mark.parametrize(
    ("text", "label", "index"),
    [
        ("k=7=swin_tiny", "k=7", 0),
        ("k = 7 = swin_tiny[window=14]", "k = 7", 1),
        ("Ours=swin_tiny[window=14]", "Ours", 1),
        ("a=b=c=swin-t", "a=b=c", 0),
    ],
)
def test_a_label_may_hold_the_sign_that_ends_it(text, label, index):
    networks = names.networks(["swin_tiny", "swin_tiny[window=14]"], labels=[text])
    assert [network.label for network in networks] == ["" if at != index else label for at in range(2)]
    for wrong in ("=swin_tiny", "k=", "k"):
        with pytest.raises(InputError, match="write LABEL=NETWORK"):
            names.networks(["swin_tiny"], labels=[wrong])
    with pytest.raises(InputError, match="swin_tny"):
        names.networks(["swin_tiny"], labels=["Ours=swin_tny"])


def test_a_label_goes_on_to_the_forms_of_its_network_and_finds_the_transplant_that_it_names(tmp_path, capsys):
    (tmp_path / "net.py").write_text(
        "from torch import nn\n\n\ndef net():\n    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))\n"
    )
    name = f"{tmp_path}/net.py:net"
    for words, label, models in (
        ([name, "--deploy"], f"A={name}", ["A", "A (deploy)"]),
        (["resnet18", "--transplant"], "Ours=resnet18 + SCSC", ["resnet18", "Ours"]),
        (["resnet18", "--transplant", "--rule", "groups=2"], "A=resnet18 + SCSC[groups=2]", ["resnet18", "A"]),
    ):
        options = ["--label", label, "--resolution", "32", "--no-check", "--format", "json"]
        assert main(["flops", *words, *options]) == 0
        assert [row["model"] for row in json.loads(capsys.readouterr().out)["rows"]] == models


def test_a_name_of_several_names_none():
    found = names.networks(["swin_tiny[window=8]", "swin_tiny[window=14]"])
    with pytest.raises(InputError, match="stands for 2 of the models"):
        names.index_of("swin_tiny", found, "--baseline")
    with pytest.raises(InputError, match="not among the models"):
        names.index_of("resnet18", found, "--baseline")


@pytest.mark.parametrize("command", ["flops", "latency", "erf", "compare"])
def test_every_command_says_which_network_a_transplant_does_not_fit(command, tmp_path, monkeypatch, capsys):
    (tmp_path / "net.py").write_text(
        "from torch import nn\n\n\n"
        "class Flat(nn.Sequential):\n"
        "    def __init__(self):\n"
        "        super().__init__(nn.Conv2d(3, 8, 4, 4), nn.Conv2d(8, 8, 1), nn.ReLU())\n"
    )
    monkeypatch.chdir(tmp_path)
    fast = {
        "flops": ["--no-check"],
        "latency": ["--pairs", "1", "--min-time", "0", "--warm-up", "0"],
        "erf": ["--samples", "2", "--seeds", "1"],
        "compare": ["--with", "macs"],
    }[command]
    assert main([command, "resnet_pico", "net.py:Flat", "--transplant", "--resolution", "64", *fast]) == 0
    assert "net.py:Flat stays as it is" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet18[depths=2,2,2,2,widths=64,128,256,512]", "blanks separate keys, not commas: write depths=2,2,2,2 w"),
        ("net.py:Net[a=1,b=2]", "blanks separate keys, not commas: write a=1 b=2"),
        ("resnet18 + SCSC[kernels=3,5,groups=2]", "blanks separate keys, not commas: write kernels=3,5 groups=2"),
        ("swin_tiny[window=8", "has a bracket without its partner"),
        ("resnet18 + SCSC[kernels=3,5", "has a bracket without its partner"),
    ],
)
def test_brackets_say_how_they_are_written(name, message):
    with pytest.raises(InputError, match=message):
        Network.read(name)


def test_commas_inside_quotes_are_values():
    network = Network.read("net.py:Net").changed({"spec": "x,b=2", "other": "[1,2]"})
    assert Network.read(network.text) == network
    assert dict(network.overrides) == {"spec": "x,b=2", "other": "[1,2]"}


def test_a_resolution_is_one_side_or_two():
    assert scsc_lab.network("resnet18", 64).resolution == scsc_lab.network("resnet18", [64, 64]).resolution == (64, 64)
    for wrong in ((1, 3, 64, 64), [], 64.0, "64", (64, 0), (64, None)):
        with pytest.raises(InputError, match=r"resolution=.*a whole shape is input_shape"):
            scsc_lab.network("resnet18", wrong)


@pytest.mark.parametrize(
    ("share", "bound"), [("0", "above 0"), ("1", "below 1"), ("1.5", "from 0 to 1"), ("-1", "from 0 to 1")]
)
def test_a_split_is_a_share_of_the_images(share, bound, capsys):
    assert main(["train", "resnet_pico", "--data", "imagefolder:.", f"--split={share}"]) == 2
    error = capsys.readouterr().err
    assert "--split" in error
    assert bound in error
