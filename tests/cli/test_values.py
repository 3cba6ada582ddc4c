"""Values of options: numbers in every spelling, and labels with equals signs."""

from __future__ import annotations

import pytest

from scsc_lab import InputError
from scsc_lab.cli import options
from scsc_lab.models import names


@pytest.mark.parametrize(
    ("text", "value"), [("0.01", 0.01), ("1e-2", 0.01), ("1E-2", 0.01), (".5", 0.5), ("2e+1", 20.0), ("5", 5.0)]
)
def test_a_number_may_have_an_exponent(text, value):
    assert options.number("--far", text) == value
    if value < 1:
        assert options.share("--split", text) == value
    else:
        assert options.whole("--pairs", text) == value
        assert options.seed(text) == value


@pytest.mark.parametrize("text", ["", "x", "-1", "1e", "e1", "nan", "inf", "1e99", "0x1", "1_0", "1,5"])
def test_what_is_no_number_is_refused(text):
    for read in (lambda: options.number("--far", text), lambda: options.whole("--pairs", text)):
        with pytest.raises(InputError, match="number from"):
            read()


@pytest.mark.parametrize("text", ["0", "1.5", "1e-2"])
def test_what_is_no_whole_number_is_refused(text):
    with pytest.raises(InputError, match="a whole number from 1"):
        options.whole("--pairs", text)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("k=7=resnet18", "k=7"),
        ("a = b =resnet18", "a = b"),
        ("wide=resnet18[stem_width=32]", "wide"),
        ("k=7=resnet18[stem_width=32]", "k=7"),
    ],
)
def test_a_label_may_hold_equals_signs(text, label):
    given = text.partition("resnet18")
    (network,) = names.networks(["".join(given[1:])], {}, [], labels=[text])
    assert network.label == label
