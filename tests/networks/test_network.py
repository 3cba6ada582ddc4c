"""The network as data: every form has one text that reads back, a hash, a pickle and an identity of content."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest

from scsc_lab import InputError
from scsc_lab.networks.network import Network

TEXTS = (
    "resnet50",
    "scsc_swin_tiny[groups=8 shuffle=false]",
    "swin_tiny[window=8] + SCSC[stages=1,2 kernels=3,5] (deploy)",
    "scsc_swin_tiny[stage1.kernels=3,9] (deploy) @ some folder/weights.pth",
    "timm:convnext_tiny[drop_path_rate=0.1] + mixconv[kernels=3,9]",
    "net.py:Net[sizes=[1, 2] name='two words' nested={'a': [1, 2]}]",
    "package.module:factory + SCSC",
)


@pytest.mark.parametrize("text", TEXTS)
def test_the_text_reads_back(text):
    network = Network.read(text)
    assert network.text == text
    assert Network.read(network.text) == network
    assert pickle.loads(pickle.dumps(network)) == network
    assert hash(Network.read(text)) == hash(network)


def test_an_alias_is_the_network():
    assert Network.read("Swin") == Network.read("swin_tiny") == Network.read("swin-t")
    assert Network.of("swin + scsc", {"window": 8}).text == "swin_tiny[window=8] + SCSC"


def test_values_of_python_are_written_as_set_writes_them():
    one = Network.of("scsc_swin", {"kernels": (3, 5), "shuffle": False})
    assert one == Network.read("scsc_swin[kernels=3,5 shuffle=false]")
    assert Network.of("net.py:Net", {"sizes": [[1, 2], [3]]}).text == "net.py:Net[sizes=[[1, 2], [3]]]"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("swin_tinny", "unknown model 'swin_tinny'; did you mean swin_tiny"),
        ("swin_tiny[widow=8]", "unknown key 'widow'; did you mean window"),
        ("swin_tiny[window]", "write key=value"),
        ("swin_tiny + mixcon", "unknown mixer 'mixcon'; did you mean mixconv"),
        ("swin_tiny + SCSC[kernel=3]", "unknown key 'kernel'"),
    ],
)
def test_mistakes_are_named(text, message):
    with pytest.raises(InputError, match=message):
        Network.read(text)


def test_a_label_is_what_it_is_called_and_nothing_else():
    plain = Network.read("resnet18")
    ours = replace(plain, label="Ours")
    assert (str(ours), ours.text) == ("Ours", "resnet18")
    assert ours == plain
    assert str(ours.deployed()) == "Ours (deploy)"
    assert ours.identity() == plain.identity()


def test_the_identity_is_of_content(tmp_path, monkeypatch):
    assert Network.read("scsc_swin[groups=4]").identity() == Network.read("scsc_swin").identity()
    assert Network.read("scsc_swin[groups=8]").identity() != Network.read("scsc_swin").identity()
    assert Network.read("swin (deploy)").identity() != Network.read("swin").identity()
    monkeypatch.chdir(tmp_path)
    seen = []
    for content in ("a", "b", "b"):
        (tmp_path / "net.py").write_text(f"# {content}\n")
        (tmp_path / "weights.pth").write_text("w")
        seen.append(str(Network.read("net.py:Net @ weights.pth").identity()))
    (tmp_path / "sibling.py").write_text("# what net.py may import\n")
    seen.append(str(Network.read("net.py:Net @ weights.pth").identity()))
    (tmp_path / "weights.pth").write_text("other")
    seen.append(str(Network.read("net.py:Net @ weights.pth").identity()))
    assert len(set(seen)) == 4
    assert seen[1] == seen[2]
    with pytest.raises(InputError, match=r"no file 'nowhere.py'"):
        Network.read("nowhere.py:Net").identity()


@pytest.mark.parametrize(
    "value", ["a b", "it's", "x] + SCSC", "a @ b", "p (deploy)", "(", "", "a\nb", "'a b'", "[1, 2]"]
)
def test_any_value_of_an_argument_reads_back(value):
    network = Network("net.py:Net").changed({"note": value, "width": 8})
    assert Network.read(network.text) == network
    assert Network.read(network.deployed().text) == network.deployed()


def test_the_identity_is_of_what_a_file_or_a_module_imports(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for package in ("blocks", "inner", "unused"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "code.py").write_text("")
    (tmp_path / "blocks" / "code.py").write_text("from inner.code import x\n")
    (tmp_path / "net.py").write_text("import os, blocks.code as code\n")
    (tmp_path / ".#net.py").symlink_to("nowhere")  # as an editor leaves it

    def seen():
        return [str(Network.read(name).identity()) for name in ("net.py:Net", "net:Net", "blocks.code:Net")]

    first = seen()
    (tmp_path / "unused" / "code.py").write_text("x = 1\n")
    assert seen() == first
    (tmp_path / "inner" / "code.py").write_text("x = 1\n")
    assert all(one != other for one, other in zip(seen(), first, strict=True))
