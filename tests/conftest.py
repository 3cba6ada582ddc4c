"""What all tests share."""

from __future__ import annotations

import csv
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from scsc_lab.cli import main

os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="scsc-lab-tests-")  # no test reads or fills the user's cache
torch.set_num_threads(1)  # small tensors gain nothing from more, and on a busy machine threads wait for each other

settings.register_profile("steady", derandomize=True)  # the same examples every time; "default" draws new ones
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))

EXPECTED = Path(__file__).parent / "expected.csv"

_TORCHVISION_OPERATORS = torch.library.Library("torchvision", "FRAGMENT")


def _import_torchvision() -> None:
    """Import torchvision even where its build cannot load its compiled operators beside this torch.

    Its Python code looks up the schemas of two of them; nothing that is tested here calls them.
    """
    try:
        import torchvision
    except ImportError:
        return
    except RuntimeError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        _TORCHVISION_OPERATORS.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _TORCHVISION_OPERATORS.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision  # noqa: F401


with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    _import_torchvision()


def expected() -> list[dict[str, str]]:
    """Return the rows of expected.csv: the exact size of every network."""
    with EXPECTED.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(autouse=True)
def _without_progress_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep stderr for notes and mistakes, however slow the machine is."""
    for name in ("LINE_SECONDS", "LONG_SECONDS"):
        monkeypatch.setattr(f"scsc_lab.cli.running.{name}", float("inf"))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def quiet_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the machine seem idle: on a busy one, verdicts are withheld."""
    monkeypatch.setattr(os, "getloadavg", lambda: (0.5, 0.5, 0.5), raising=False)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs a command and returns its exit code, output and complaint."""

    def runner(*words: str) -> tuple[int, str, str]:
        code = main(list(words))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return runner
