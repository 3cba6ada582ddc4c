"""Values of options: numbers in every spelling, and labels with equals signs."""

from __future__ import annotations

import json

import pytest

from scsc_lab.cli import main


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
        assert words[-2] in capsys.readouterr().err


@pytest.mark.parametrize("text", ["0", "1.5", "1e-2"])
def test_what_is_no_whole_number_is_refused(text, capsys):
    assert main(["latency", "resnet18", "--pairs", text]) == 2
    assert "--pairs" in capsys.readouterr().err


def test_whole_numbers_may_have_an_exponent(capsys):
    assert main(["flops", "resnet18", "--resolution", "64", "--no-check", "--batch", "1e1", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["batch"] == 10
    assert main(["flops", "resnet18", "--resolution", "64", "--no-check", "--batch", "1.5"]) == 2
    assert "'1.5' is not a whole number" in capsys.readouterr().err
