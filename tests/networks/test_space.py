"""Spaces of settings: how texts become keys with values, and combinations become networks."""

from __future__ import annotations

import pytest

from scsc_lab.errors import InputError
from scsc_lab.networks import space
from scsc_lab.networks.network import Network

PICO = Network.read("scsc_swin_pico")


@pytest.mark.parametrize(
    ("text", "choices"),
    [
        ("groups=1,2,4", {"groups": ("1", "2", "4")}),
        ("kernels=3,5;3,7,11", {"kernels": ("3,5", "3,7,11")}),
        ("embed_dim=64..128:32", {"embed_dim": ("64", "96", "128")}),
        ("reduction=0.25..0.5:0.125", {"reduction": ("0.25", "0.375", "0.5")}),
        ("groups=1..3", {"groups": ("1", "2", "3")}),
        ("shuffle,groups", {"shuffle": ("false", "true"), "groups": ("1", "2", "4", "8")}),
        ("rule.mixer=scsc,mixconv,focal", {"rule.mixer": ("scsc", "mixconv", "focal")}),
        ("rule.stages=1;1,2", {"rule.stages": ("1", "1,2")}),
    ],
)
def test_texts_become_choices(text, choices):
    assert dict(space.parse(PICO, [text]).choices) == choices


def test_the_usual_kernels_are_the_subsets_of_each_stage():
    usual = dict(space.parse(Network.read("scsc_swin_tiny"), ["kernels"]).choices)
    assert list(usual) == [f"stage{stage}.kernels" for stage in (1, 2, 3, 4)]
    assert usual["stage4.kernels"] == ("3", "5", "3,5")


@pytest.mark.parametrize(
    ("texts", "mistake"),
    [
        ([], "no --space"),
        (["kernel"], "did you mean kernels"),
        (["groups=3"], "one value leaves nothing to choose"),
        (["kernels=3,5"], "separate values with semicolons"),
        (["groups=a,b"], "a whole number is needed"),
        (["embed_dim"], "embed_dim has no usual values"),
        (["groups=8..1"], "--space groups=8..1: a range is FIRST..LAST:STEP"),
        (["groups", "groups=1,2"], "given twice"),
        (["rule.mixer=scsc,mixkonv"], "mixconv"),
        (["rule.mixer=identity,pooling", "rule.kernels=3;5"], "none of"),
        (["rule.kernles=3;5"], "unknown key"),
    ],
)
def test_mistakes_are_named(texts, mistake):
    with pytest.raises(InputError, match=mistake):
        space.parse(PICO, texts)


def test_a_combination_is_a_network_and_the_options_that_make_it():
    found = space.parse(PICO, ["groups=2,4", "rule.mixer=focal,mixconv", "rule.kernels=3;3,5"])
    assert found.size == 8
    network = found.at((0, 1, 1))
    assert network.text == "scsc_swin_pico[groups=2] + mixconv[kernels=3,5]"
    assert found.written((0, 1, 1)) == "--set groups=2 --rule mixer=mixconv --rule kernels=3,5"
    assert found.at((0, 0, 1)).transplant.mixer == "focal"  # which has no kernels


def test_what_a_network_has_already_is_no_change():
    assert space.parse(PICO, [f"groups=1,{PICO.spec.scsc[0].groups}"]).changes((1,)) == {}


def test_a_stage_keeps_its_word_against_that_for_all_stages():
    own = ",".join(map(str, PICO.spec.scsc[0].kernels))
    found = space.parse(PICO, [f"stage1.kernels=1;{own}", "kernels=3;5"])
    assert found.at((1, 0)).spec.scsc[0].kernels == PICO.spec.scsc[0].kernels
