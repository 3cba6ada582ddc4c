"""Provenance of a run: command, time, versions, machine and commit. No torch; versions are read without imports."""

from __future__ import annotations

import datetime
import functools
import importlib.metadata
import os
import platform
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from scsc_lab.records import Row

_GIVEN: ContextVar[Sequence[str]] = ContextVar("_GIVEN")


@contextmanager
def commanded(arguments: Sequence[str]) -> Iterator[None]:
    """Set the command line under which every run inside is recorded."""
    token = _GIVEN.set(tuple(arguments))
    try:
        yield
    finally:
        _GIVEN.reset(token)


def on_command_line() -> bool:
    """Return whether the caller is the command line, so that a message names its options, not Python's arguments."""
    return _GIVEN.get(None) is not None


@dataclass(frozen=True)
class RunInfo:
    """Provenance of a run, enough to repeat it; ``command`` is empty for Python code."""

    command: str
    time: str
    versions: Mapping[str, str]
    machine: Mapping[str, Any]
    device: str = "cpu"
    seed: int = 0
    commit: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)

    def row(self) -> Row:
        """Return it as JSON has it, with ``torch`` also among the other versions."""
        return {**asdict(self), "torch": self.versions.get("torch", "")}


def run_info(device: str = "cpu", seed: int = 0, arguments: Sequence[str] | None = None) -> RunInfo:
    """Return how this process runs: command, UTC time, versions, machine and git commit.

    Args:
        device: where it runs.
        seed: of what is drawn.
        arguments: of the command; those that the command line was given, if it was.
    """
    arguments = _GIVEN.get(None) if arguments is None else arguments
    return RunInfo(
        command="" if arguments is None else shlex.join(["scsc-lab", *arguments]),
        time=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        versions=versions(),
        machine=machine(),
        device=device,
        seed=seed,
        commit=commit(),
    )


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions of Python, of this package and of its numerical libraries, without importing them."""
    installed = {"python": platform.python_version()}
    for package in ("scsc-lab", "torch", "fvcore", "numpy", "timm"):
        try:
            installed[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed


@functools.cache
def machine() -> dict[str, Any]:
    """Return the processor's name, the cores this process may use and the operating system."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"processor": _processor(), "cores": cores, "system": platform.platform(terse=True)}


def _processor() -> str:
    """Return the processor's name, with family and model where a virtual machine hides which one it is."""
    try:
        lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    except OSError:
        lines = []
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    name = facts.get("model name") or platform.processor() or platform.machine()
    if "cpu family" in facts and not re.search(r"\d", name.partition("@")[0]):
        name += f" (family {facts['cpu family']}, model {facts['model']})"
    return name


@functools.cache
def commit() -> str:
    """Return the commit that this package runs at, with ``-dirty`` behind it where files were changed since.

    It is empty where the package is not in a clone of its repository.
    """
    package = Path(__file__).resolve().parent.parent
    if not (package / ".git").exists():
        return ""
    command = ["git", "-C", str(package), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
