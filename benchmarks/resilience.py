"""What commands lose when they are ended, when the disk is full, and when several write one store: a table of trials.

    python benchmarks/resilience.py [--trials 3] [--only train,ablate,search,report,full,writers] [--output table.md]

Each trial starts a command, ends it at a random moment after its first rows are stored, runs it again, and counts: rows
that were stored and are not there afterwards, or are others; traces of errors; processes that stay; and commands that
cannot be resumed. Dask trials are left out where distributed is not installed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from scsc_lab import rowfile
from scsc_lab.records import Row

NETWORK = """
import time
from torch import nn

class Tiny(nn.Sequential):
    def __init__(self, width: int = 4):
        super().__init__(
            nn.Conv2d(3, width, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 20)
        )

    def forward(self, x):
        time.sleep(0.002)
        return super().forward(x)
"""
GRID = ",".join(map(str, range(1, 25)))
TRAIN = ["--data", "navon", "--epochs", "1", "--train-images", "64", "--test-images", "64", "--batch-size", "32"]
COMMANDS = {
    "train": ["train", "net.py:Tiny", *TRAIN, "--seeds", "6", "--resolution", "32"],
    "ablate": ["ablate", "net.py:Tiny", "--grid", f"width={GRID}", "--with", "macs", "--no-draw", "--resolution", "32"],
    "search": ["search", "net.py:Tiny", "--space", f"width={GRID}", "--minimise", "latency", "--max-time", "0.2"],
    "report": ["report", *(f"net.py:Tiny[width={width}]" for width in range(1, 13)), "--with", "macs,erf"],
}
COMMANDS["search"] += ["--trials", "12", "--resolution", "32"]
COMMANDS["report"] += ["--name", "mine", "--resolution", "32"]
WAYS = {"one process": (), "--jobs 2": ("--jobs", "2"), "Dask": ("--executor",)}
SIGNALS = {"TERM": signal.SIGTERM, "KILL": signal.SIGKILL, "INT": signal.SIGINT}
LONGEST_SECONDS = 300

Losses = Counter[str]


def main() -> None:
    """Run the trials and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=3, help="per command, place and signal")
    parser.add_argument("--only", default=",".join([*COMMANDS, "full", "writers"]))
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    draw = random.Random(0)
    lines = ["| trial | times | rows lost | tracebacks | processes left | not resumed |", "|:--|--:|--:|--:|--:|--:|"]
    print("\n".join(lines), flush=True)
    for name, trial in _trials(options.only.split(","), draw):
        losses: Losses = Counter()
        for _ in range(options.trials):
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / "net.py").write_text(NETWORK)
                losses += trial(Path(folder))
        counts = [losses[kind] for kind in ("rows", "tracebacks", "processes", "not resumed")]
        lines.append(f"| {name} | {options.trials} | {' | '.join(map(str, counts))} |")
        print(lines[-1], flush=True)
    if options.output:
        options.output.write_text("\n".join(lines) + "\n")


def _trials(names: list[str], draw: random.Random) -> Iterator[tuple[str, Callable[[Path], Losses]]]:
    for name in names:
        for place, words in WAYS.items() if name in COMMANDS else ():
            if place != "one process" and name == "search":
                continue  # what is timed is not distributed
            if place == "Dask" and importlib.util.find_spec("distributed") is None:
                continue
            for sent in SIGNALS:
                yield f"{name}, {place}, {sent}", partial(killed, COMMANDS[name], words, SIGNALS[sent], draw)
    if "full" in names:
        yield "ablate, disk full", partial(full, draw)
    if "writers" in names:
        yield "four writers, random KILL", partial(writers, draw)


def killed(command: list[str], place: tuple[str, ...], sent: signal.Signals, draw: random.Random, at: Path) -> Losses:
    """Return what a command loses that is ended at a random moment and run again."""
    with _cluster(at) if place == ("--executor",) else contextlib.nullcontext("") as address:
        store = [] if command[0] == "report" else ["--store", "rows.db"]
        words = [*command, *place, *([address] if address else []), *store]
        process = _start(words, at)
        _wait_for_rows(process, at)
        time.sleep(draw.uniform(0, 1))
        workers = _children(process.pid)
        process.send_signal(sent)
        return _judged(words, at, process, workers)


def full(draw: random.Random, at: Path) -> Losses:
    """Return what a command loses whose files may not grow beyond a random size, and that is run again."""
    words = [*COMMANDS["ablate"], "--store", "rows.db"]
    return _judged(words, at, _start(words, at, limit_bytes=draw.randrange(30_000, 90_000)), [])


def writers(draw: random.Random, at: Path) -> Losses:
    """Return what is lost where four processes write one store and are killed at random moments."""
    words = [*COMMANDS["ablate"], "--store", "rows.db"]
    processes = [_start(words, at) for _ in range(4)]
    _wait_for_rows(processes[0], at)
    for process in processes[1:]:
        time.sleep(draw.uniform(0, 0.5))
        process.kill()
        process.communicate()
    return _judged(words, at, processes[0], [])


def _judged(words: list[str], at: Path, process: subprocess.Popen[str], workers: list[int]) -> Losses:
    """Return the losses of a command that was ended, once it has ended and has been run again."""
    try:
        error = process.communicate(timeout=LONGEST_SECONDS)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        error = process.communicate()[1]
        workers = [*workers, process.pid]
    time.sleep(2)
    losses: Losses = Counter(processes=sum(map(_is_running, workers)), tracebacks="Traceback" in error)
    before = _rows(at)
    again = _start(words, at)
    error = again.communicate(timeout=LONGEST_SECONDS)[1]
    after = _rows(at)
    losses["rows"] += sum(after.get(key) != rows for key, rows in before.items())
    losses["tracebacks"] += "Traceback" in error
    losses["not resumed"] += again.returncode != 0
    return losses


def _start(words: list[str], at: Path, limit_bytes: int | None = None) -> subprocess.Popen[str]:
    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes or 0, limit_bytes or 0))

    return subprocess.Popen(
        [sys.executable, "-m", "scsc_lab", *words],
        cwd=at,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=limit if limit_bytes else None,
    )


def _rows(at: Path) -> dict[str, list[Row]]:
    """Return the rows of a store, of a report under way, or of one that is written."""
    paths = (at / "rows.db", at / "reports/mine/rows.partial.db", at / "reports/mine/rows.jsonl")
    return next((rowfile.opened(path).all_rows() for path in paths if path.exists()), {})


def _wait_for_rows(process: subprocess.Popen[str], at: Path) -> None:
    while process.poll() is None and not _rows(at):
        time.sleep(0.1)


@contextlib.contextmanager
def _cluster(at: Path) -> Iterator[str]:
    """Yield the address of a Dask scheduler with two workers that find the network's file."""
    from distributed import LocalCluster

    with contextlib.chdir(at), LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster.scheduler_address


def _children(parent: int) -> list[int]:
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True, check=False)
    return [int(word) for word in listed.stdout.split()]


def _is_running(pid: int) -> bool:
    listed = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return listed.stdout.strip()[:1] not in ("", "Z")


if __name__ == "__main__":
    main()
