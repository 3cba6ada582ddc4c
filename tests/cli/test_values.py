"""Values of options: numbers in every spelling, and labels with equals signs."""

from __future__ import annotations

import pytest

from scsc_lab.cli import main
from scsc_lab.models import names


@pytest.mark.parametrize(
    ("text", "value"), [("0.01", 0.01), ("1e-2", 0.01), ("1E-2", 0.01), (".5", 0.5), ("2e+1", 20.0), ("5", 5.0)]
)
def test_a_number_may_have_an_exponent(text, value, monkeypatch):
    asked = []
    monkeypatch.setattr("scsc_lab.metrics.latency.timings", lambda networks, settings, **_: asked.append(settings))
    main(["latency", "resnet18", "--max-time", text])  # ends where there are no times
    assert asked[0].timing.max_seconds == value


@pytest.mark.parametrize("text", ["", "x", "-1", "1e", "e1", "nan", "0x1", "1,5"])
def test_what_is_no_number_is_refused(text, capsys):
    for words in (["paper", "--tolerance", text], ["latency", "resnet18", "--pairs", text]):
        assert main(words) == 2
        assert f"Invalid value for '{words[-2]}'" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["0", "1.5", "1e-2"])
def test_what_is_no_whole_number_is_refused(text, capsys):
    assert main(["latency", "resnet18", "--pairs", text]) == 2
    assert "Invalid value for '--pairs'" in capsys.readouterr().err


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
