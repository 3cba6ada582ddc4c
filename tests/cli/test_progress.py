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


@pytest.mark.parametrize(
    ("steps", "total", "lines"),
    [
        (31, 30, ["net, 10/30, 0:20 left", "net, 20/30, 0:10 left", "net, 30/30, 0:00 left"]),
        (9, 100, ["net, 6/100, 1:34 left"]),  # a long run is announced once its estimate has settled
        (9, 9, []),
    ],
)
def test_lines_come_every_ten_seconds_with_the_time_left(seconds, capsys, steps, total, lines):
    with running.stepwise() as report:
        for step in range(steps):
            seconds[0] = float(step)
            report("net", step, total)
    assert capsys.readouterr().err.splitlines() == lines


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
