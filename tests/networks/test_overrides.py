"""Changes to specs: typed, checked, and told apart by network."""

from __future__ import annotations

import dataclasses

import pytest

from scsc_lab import InputError
from scsc_lab.models.names import networks
from scsc_lab.networks import catalog
from scsc_lab.networks import overrides as changes
from scsc_lab.networks.mixers import TransplantSpec
from scsc_lab.networks.specs import SCSCSpec, SwinSpec

SCSC_SWIN = catalog.find("scsc_swin_tiny").spec


def test_a_key_changes_every_stage_or_the_one_that_it_names_whatever_the_order():
    spec = changes.apply(SCSC_SWIN, {"kernels": "3,5,7", "shuffle": "off"})
    assert all(module.kernels == (3, 5, 7) and not module.shuffle for module in spec.scsc)
    spec = changes.apply(SCSC_SWIN, {"stage2.kernels": "3,9"})
    assert [module.kernels for module in spec.scsc] == [(3, 9, 13), (3, 9), (3, 5, 7), (3, 5)]
    for made in ({"stage1.groups": "8", "groups": "2"}, {"groups": "2", "stage1.groups": "8"}):
        assert [module.groups for module in changes.apply(SCSC_SWIN, made).scsc] == [8, 2, 2, 2]


def test_values_are_texts_or_of_python():
    spec = changes.apply(SCSC_SWIN, {"depths": "2,2,18,2", "drop_path": "0.3", "scsc_stages": "1,2"})
    assert (spec.depths, spec.drop_path, spec.scsc_stages) == ((2, 2, 18, 2), 0.3, (1, 2))
    spec = changes.apply(SCSC_SWIN, {"kernels": [3, 5], "se": False, "mlp_ratio": 2})
    assert (spec.scsc[0].kernels, spec.mlp_ratio, spec.scsc[3].se) == ((3, 5), 2.0, False)


def test_scsc_swin_is_swin_with_scsc_in_every_stage():
    swin = catalog.find("swin_tiny").spec
    assert isinstance(swin, SwinSpec)
    assert dataclasses.replace(swin, scsc_stages=(1, 2, 3, 4), drop_path=0.1) == SCSC_SWIN


MISTAKES = [
    ({"kernel": "3"}, r"unknown key 'kernel'; did you mean kernels"),
    ({"stage5.kernels": "3"}, "stages go from stage1 to stage4"),
    ({"stage1.kernel": "3"}, r"unknown key 'stage1.kernel'"),
    ({"kernels": "3,x"}, "kernels='x': a whole number is needed"),
    ({"kernels": ""}, "kernels is empty"),
    ({"kernels": "3,4"}, "4: a kernel size is an odd number"),
    ({"groups": "1.5"}, "groups='1.5': a whole number"),
    ({"groups": True}, "groups=True: a whole number"),
    ({"groups": "64"}, "groups=64 cannot divide the 32 channels"),
    ({"shuffle": "perhaps"}, "shuffle='perhaps': true or false"),
    ({"depths": "2,2"}, "heads has 4 entries for the 2 stages"),
    ({"depths": "2,0,2,2"}, "depths=2,0,2,2: numbers from 1 up"),
    ({"depths": 2}, "heads has 4 entries for the 1 stages"),
    ({"depths": "²"}, "depths='²': a whole number"),
    ({"kernels": "3,5,9999999999"}, "9999999999: a kernel size is an odd number from 1 to 1023"),
    ({"drop_path": "nan"}, "not a number"),
    ({"drop_path": "1"}, "drop_path=1.0: a probability"),
    ({"scsc_stages": "1,7"}, "scsc_stages=1,7: different stages from 1 to 4"),
    ({"scsc": "1"}, "unknown key 'scsc'"),
]
OF_OTHERS = [
    ("swin_tiny", {"kernels": "3"}, "this network has no SCSC module"),
    ("resnet50", {"stem": "conv9"}, "stem=conv9: one of conv7_pool, conv3"),
    ("swin_tiny", {"depths": "1000000,1,1,1"}, "^depths="),
    ("resnet50", {"widths": "64,64,64,99999999999"}, "^widths="),
    ("swin_tiny", {"depths": ",".join("1" * 64), "heads": ",".join("1" * 64)}, "^depths(=| has )"),
    ("swin_tiny", {"embed_dim": "9" * 20}, "^embed_dim="),
    ("swin_tiny", {"window": "100000"}, "^window="),
    ("swin_tiny", {"outputs": "9" * 5000}, "^outputs="),
    ("swin_tiny", {"patch": "-1"}, "^patch="),
]


@pytest.mark.parametrize(
    ("name", "change", "message"), [*(("scsc_swin_tiny", *mistake) for mistake in MISTAKES), *OF_OTHERS]
)
def test_mistakes(name, change, message):
    with pytest.raises(InputError, match=message):
        changes.apply(catalog.find(name).spec, change)


@pytest.mark.parametrize("texts", [["kernels"], ["=3"], [""], ["groups=2", "groups=4"]])
def test_assignments_have_a_key_once_and_a_value(texts):
    with pytest.raises(InputError, match=r"write key=value|twice"):
        changes.parse(texts)


def test_each_change_goes_to_the_networks_that_have_its_key():
    swin, scsc = networks(["swin", "scsc_swin"], {"kernels": "3,5", "embed_dim": "192"})
    assert str(swin) == "swin_tiny[embed_dim=192]"
    assert str(scsc) == "scsc_swin_tiny[kernels=3,5 embed_dim=192]"
    with pytest.raises(InputError, match="unknown key 'kernelz'"):
        networks(["swin", "scsc_swin"], {"kernelz": "3"})


def test_one_value_does_for_a_tuple():
    assert changes.apply(SCSC_SWIN, {"kernels": 3}).scsc[0].kernels == (3,)
    assert TransplantSpec(kernels=3) == TransplantSpec(kernels=(3,)) == TransplantSpec(kernels="3")
    assert TransplantSpec(names="stages.0.*").names == ("stages.0.*",)
    assert TransplantSpec(stages=2).stages == (2,)


def test_the_reduced_width_can_be_set():
    assert SCSCSpec((3, 9, 13)).reduced_channels(96) == SCSCSpec((13,), reduction=1 / 3).reduced_channels(96) == 32
    assert changes.apply(SCSC_SWIN, {"reduction": "0.5"}).scsc[1].reduced_channels(192) == 96
    with pytest.raises(InputError, match="reduction=-1: the reduced width"):
        changes.apply(SCSC_SWIN, {"reduction": -1})
