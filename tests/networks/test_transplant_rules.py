"""Which mixer, with which settings: typed, checked, written as text and read back, all without torch."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from scsc_lab import InputError
from scsc_lab.networks import mixers
from scsc_lab.networks import overrides as changes
from scsc_lab.networks.mixers import RULES, TransplantSpec
from scsc_lab.networks.network import Network
from scsc_lab.networks.values import as_text

OWN = """
from torch import nn
class Block(nn.Module):
    def __init__(self, c_in, c_out, stride=1, expansion=2, *, sizes: tuple[int, ...] = (3,), plain=False, x=None):
        raise SystemExit("never run")
def function(c_in, c_out, stride, depth: int = 1):
    pass
class Inherits(Block):
    pass
KNOWN = ("a", "b")
def chosen(c_in, c_out, stride, count: Literal[1, 2] = 1, word: Literal[KNOWN] = "a", any=None):
    pass
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "my_block.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)


def test_every_file_is_a_mixer_whose_settings_can_be_read():
    assert mixers.names()[0] == "scsc"
    for name in mixers.names():
        found = mixers.settings(name)
        assert found is not None
        assert not set(found) & {*RULES, "mixer", "settings"}
        for key, setting in found.items():
            assert setting.kind is not object, f"{name}.{key}"


@pytest.mark.parametrize(
    "spec",
    [
        TransplantSpec(),
        TransplantSpec(kernels=(3, 5), groups=8, shuffle=False, stages=(1, 2), reduction=0.25),
        TransplantSpec("SCSC", replace="depthwise", names=("a.*", "b"), shortcut=True, width=1.5),
        TransplantSpec(match="macs"),
    ],
)
def test_rules_are_data_that_reads_back(spec):
    written = {key: as_text(value) for key, value in changes.rules(spec).items()}
    assert changes.transplant(written, spec.mixer) == spec
    assert changes.transplant(changes.rules(spec), spec.mixer) == spec
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert hash(pickle.loads(pickle.dumps(spec))) == hash(spec)


def test_defaults_are_not_settings():
    assert TransplantSpec(groups=4, shuffle="yes") == TransplantSpec()
    assert changes.rules(TransplantSpec(groups=4)) == {}


def test_a_setting_may_name_its_mixer():
    assert changes.transplant({"scsc.kernels": "3,5", "stages": "1"}) == TransplantSpec(kernels=(3, 5), stages=(1,))
    with pytest.raises(InputError, match=r"kernels is given twice, once as scsc.kernels"):
        changes.transplant({"scsc.kernels": "3,5", "kernels": "3"})
    with pytest.raises(InputError, match=r"'mixconv.kernels' is a setting of mixconv; the mixer is SCSC"):
        changes.transplant({"mixconv.kernels": "3,5"})


@pytest.mark.usefixtures("own")
def test_ones_own_mixer():
    spec = changes.transplant({"mixer": "my_block.py:Block", "Block.expansion": "4", "sizes": "5", "x": "(1, 'a')"})
    assert dict(spec.settings) == {"expansion": 4, "sizes": (5,), "x": (1, "a")}
    assert TransplantSpec("my_block.py:function", depth=2).settings == (("depth", 2),)
    assert TransplantSpec("my_block.py:Inherits", anything="1").settings == (("anything", 1),)
    with pytest.raises(InputError, match="unknown key 'expand'; did you mean expansion"):
        TransplantSpec("my_block.py:Block", expand=3)
    with pytest.raises(InputError, match="expansion='x': a whole number"):
        TransplantSpec("my_block.py:Block", expansion="x")
    with pytest.raises(InputError, match=r"no file 'other.py'"):
        TransplantSpec("other.py:Block")


@pytest.mark.usefixtures("own")
def test_several_mixers_share_what_they_have():
    chosen = ["scsc", "my_block.py:Block"]
    scsc, block = changes.transplants(chosen, {"groups": "2", "Block.plain": "on", "stages": "3"})
    assert scsc == TransplantSpec(groups=2, stages=(3,))
    assert block == TransplantSpec("my_block.py:Block", plain=True, stages=(3,))
    with pytest.raises(InputError, match="unknown key 'group'; did you mean groups"):
        changes.transplants(chosen, {"group": "2"})


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"kernel": "3"}, "unknown key 'kernel'; did you mean kernels"),
        ({"replace": "dense"}, "replace=dense: one of depthwise, conv3x3, attention"),
        ({"replace": ""}, "replace is empty"),
        ({"stages": "0"}, "stages=0: numbers from 1 up"),
        ({"groups": "0"}, "groups=0: a whole number from 1"),
        ({"mixer": "scs"}, "unknown mixer 'scs'; did you mean scsc"),
        ({"mixer": "my_block.py"}, "unknown mixer 'my_block.py'; a class of your own is named with its file"),
        ({"width": "-1"}, "width=-1: a number from 0"),
        ({"width": "nan"}, "width=nan: not a number"),
        ({"match": "flops"}, "match=flops: one of macs, params"),
        ({"match": "macs", "width": "2"}, "match chooses the width"),
        ({"kernels": 2.5}, "kernels=2.5: a whole number"),
        ({"names": 3}, "names=3: a word"),
        ({"shortcut": "perhaps"}, "shortcut='perhaps': true or false"),
    ],
)
def test_mistakes(rule, message):
    with pytest.raises(InputError, match=message):
        changes.transplant(rule)


@pytest.mark.usefixtures("own")
def test_choices_that_are_no_words_or_are_named():
    assert TransplantSpec("my_block.py:chosen", count="2", word="b").settings == (("count", 2), ("word", "b"))
    with pytest.raises(InputError, match=r"count=3: one of 1, 2$"):
        TransplantSpec("my_block.py:chosen", count="3")


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize("value", ["a b", "'3'", "3", "(1,)", "((1, 2), (3,))", "[[1], 2]", "a @ b", "x]", "", "None"])
@pytest.mark.parametrize("file", ["my_block.py", "my block.py", "a[1] + 'b'.py", "a\nb.py"])
def test_any_setting_of_any_file_reads_back_in_the_name_of_a_network(file, value):
    Path(file).write_text(OWN)
    network = Network("resnet50").with_transplant(TransplantSpec(f"{file}:chosen", any=value))
    assert hash(Network.read(network.text)) == hash(network)
    assert Network.read(network.text) == network
    assert "\n" not in network.text


def test_a_setting_that_cannot_be_kept_is_refused(own):
    with pytest.raises(InputError, match=r"any=\{'a': 1\}: a number, a word, or several"):
        TransplantSpec("my_block.py:chosen", any="{'a': 1}")
