"""Progress without a terminal: plain lines on stderr, at most one per period, the first as soon as a run is long."""

from __future__ import annotations

import pytest

from scsc_lab.cli import running


@pytest.fixture
def seconds(monkeypatch):
    """Return a clock that tests set."""
    now = [0.0]
    monkeypatch.setattr(running.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(running, "LINE_SECONDS", 10.0)
    monkeypatch.setattr(running, "LONG_SECONDS", 60.0)
    return now


def test_lines_come_every_ten_seconds_with_the_time_left(seconds, capsys):
    with running.stepwise() as report:
        for step in range(31):
            seconds[0] = float(step)
            report("net", step, 30)
    assert capsys.readouterr().err.splitlines() == [
        "net, 10/30, 0:20 left",
        "net, 20/30, 0:10 left",
        "net, 30/30, 0:00 left",
    ]


def test_a_long_run_is_announced_once_its_estimate_has_settled(seconds, capsys):
    with running.stepwise() as report:
        for step in range(9):
            seconds[0] = float(step)
            report("field", step, 100)
    assert capsys.readouterr().err == "field, 6/100, 1:34 left\n"


def test_a_short_run_is_silent(seconds, capsys):
    with running.stepwise() as report:
        for step in range(9):
            seconds[0] = float(step)
            report("net", step, 9)
    assert not capsys.readouterr().err


def test_a_terminal_shows_a_bar_with_the_time_left(seconds, monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with running.stepwise() as report:
        report("warming up a", 0.0, 1)
        seconds[0] = 3.0
        report("timing a", 0.3, 1)
        seconds[0] = 6.0
        report("timing a", 0.65, 1)
    error = capsys.readouterr().err
    assert "timing a" in error
    assert "0:03 left" in error  # the warm-up is no progress
