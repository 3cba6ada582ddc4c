"""What commands lose when they are ended, when the disk is full, and when several write one store: a table of trials.

    python benchmarks/resilience.py [--trials 3] [--only train,ablate,search,report,writers] [--output table.md]

A trial starts a command, ends it at a random moment after its first row is stored, and runs it again. It counts if the
command was running when the signal was sent, and the signal has ended it. The table says how often stored rows are
missing or different afterwards, how often there was a traceback or an exit code other than 128 and the signal's number,
how many processes stayed, and how often the command could not be resumed. Dask trials need ``distributed``.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
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
        time.sleep(0.05)
        return super().forward(x)
"""
WIDTHS = ",".join(map(str, range(1, 31)))
SMALL = ["--resolution", "32"]
TRAIN = ["--data", "navon", "--epochs", "1", "--train-images", "64", "--test-images", "64", "--batch-size", "32"]
FIELD = ["--samples", "2", "--seeds", "1"]
COMMANDS = {
    "train": ["train", "net.py:Tiny", *TRAIN, "--seeds", "6", *SMALL],
    "ablate": ["ablate", "net.py:Tiny", "--grid", f"width={WIDTHS}", "--with", "macs", "--no-draw", *SMALL],
    "search": ["search", "net.py:Tiny", "--space", f"width={WIDTHS}", "--minimise", "erf", "--trials", "8", *SMALL],
    "report": ["report", *(f"net.py:Tiny[width={at}]" for at in range(1, 9)), "--with", "macs,erf", *SMALL],
}
COMMANDS["search"] += FIELD
COMMANDS["report"] += ["--name", "mine", "--seeds", "1"]
PLACES = {"one process": [], "--jobs 2": ["--jobs", "2"], "Dask": ["--executor"]}
EXIT_CODES = {"TERM": 143, "KILL": -9, "INT": 130}
LONGEST_SECONDS = 300
MOST_ATTEMPTS = 4
"""Attempts per trial that counts: a fast command may have ended before the signal."""


@dataclass
class Trials:
    """Trials of one kind.

    Attributes:
        times: how many count, by signal.
        losses: what was lost, by kind.
    """

    times: Counter[str] = field(default_factory=Counter)
    losses: Counter[str] = field(default_factory=Counter)

    def row(self, name: str) -> str:
        """Return the row of the table."""
        times = [self.times[sent] or "–" for sent in EXIT_CODES]
        cells = [*times, self.times["full"] or "–", *(self.losses[kind] for kind in LOSSES)]
        return f"| {name} | {' | '.join(map(str, cells))} |"


LOSSES = ("rows lost", "tracebacks", "other exit codes", "processes left", "not resumed")


def main() -> None:
    """Run the trials and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=3, help="per command, place and signal")
    parser.add_argument("--only", default=",".join([*COMMANDS, "writers"]))
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    heads = ["command", *EXIT_CODES, "disk full", *LOSSES]
    lines = [f"| {' | '.join(heads)} |", f"|:--|{'--:|' * (len(heads) - 1)}"]
    print("\n".join(lines), flush=True)
    for name, trials in all_trials(options.only.split(","), options.trials, random.Random(0)):
        lines.append(trials.row(name))
        print(lines[-1], flush=True)
    if options.output:
        options.output.write_text("\n".join(lines) + "\n")


def all_trials(names: Sequence[str], number: int, draw: random.Random) -> Iterator[tuple[str, Trials]]:
    """Yield the name of each kind of trial with its results."""
    for name in [name for name in names if name in COMMANDS]:
        for place, words in PLACES.items():
            if place == "Dask" and importlib.util.find_spec("distributed") is None:
                continue
            with workplace(distributed=place == "Dask") as (folder, address):
                trials = Trials()
                command = [*COMMANDS[name], *words, *address, *([] if name == "report" else ["--store", "rows.db"])]
                for sent in EXIT_CODES:
                    for _ in range(number * MOST_ATTEMPTS):
                        if trials.times[sent] < number:
                            end_and_resume(command, folder, sent, draw, trials)
                if place == "one process":
                    fill_disk_and_resume(command, folder, number, draw, trials)
            yield f"`{name}`, {place}", trials
    if "writers" in names:
        with workplace() as (folder, _):
            trials = Trials()
            for _ in range(number):
                four_writers([*COMMANDS["ablate"], "--store", "rows.db"], folder, draw, trials)
        yield "`ablate`, four writers of one store", trials


def end_and_resume(command: list[str], folder: Path, sent: str, draw: random.Random, trials: Trials) -> None:
    """End a command at a random moment by a signal, run it again, and add up what was lost."""
    clear(folder)
    process = start(command, folder)
    wait_for_rows(process, folder)
    time.sleep(draw.uniform(0, 2))
    workers, stored = children(process.pid), rows(folder)
    if process.poll() is not None:
        return
    process.send_signal(getattr(signal, f"SIG{sent}"))
    code, error = ended(process)
    if code == 0:
        return  # it was about to end
    trials.times[sent] += 1
    if code != EXIT_CODES[sent]:
        trials.losses["other exit codes"] += 1
        print(f"{sent}: exit code {code}: {error[-500:]}", file=sys.stderr)
    time.sleep(2)
    trials.losses["processes left"] += sum(map(is_running, workers))
    resume(command, folder, stored, error, trials)


def fill_disk_and_resume(command: list[str], folder: Path, number: int, draw: random.Random, trials: Trials) -> None:
    """Run a command whose files may not grow beyond a random size, then without that bound."""
    largest = max(path.stat().st_size for path in folder.rglob("*") if path.is_file())  # of the last, complete run
    for _ in range(number * MOST_ATTEMPTS):
        if trials.times["full"] == number:
            return
        clear(folder)
        code, error = ended(start(command, folder, limit_bytes=int(largest * draw.uniform(0.5, 0.95))))
        if code != 0:  # else all was written before the bound was reached
            trials.times["full"] += 1
            trials.losses["other exit codes"] += code != 2
            resume(command, folder, {}, error, trials)


def four_writers(command: list[str], folder: Path, draw: random.Random, trials: Trials) -> None:
    """Let four processes write one store, end three of them at random moments, and run the command again."""
    clear(folder)
    processes = [start(command, folder) for _ in range(4)]
    wait_for_rows(processes[0], folder)
    errors = []
    for process in processes[1:]:
        time.sleep(draw.uniform(0, 0.5))
        sent = draw.choice(list(EXIT_CODES))
        if process.poll() is None:
            process.send_signal(getattr(signal, f"SIG{sent}"))
            code, error = ended(process)
            errors.append(error)
            trials.times[sent] += code != 0
            trials.losses["other exit codes"] += code not in (0, EXIT_CODES[sent])
    stored = rows(folder)
    code, error = ended(processes[0])
    trials.losses["other exit codes"] += code != 0
    resume(command, folder, stored, " ".join([*errors, error]), trials)


def resume(command: list[str], folder: Path, stored: dict[str, list[Row]], error: str, trials: Trials) -> None:
    """Run a command again that was ended, and add up what is missing or different then."""
    before = stored | rows(folder)
    code, error_again = ended(start(command, folder))
    after = rows(folder)
    trials.losses["rows lost"] += sum(after.get(key) != content for key, content in before.items())
    trials.losses["tracebacks"] += ("Traceback" in error) + ("Traceback" in error_again)
    trials.losses["not resumed"] += code != 0


def start(words: list[str], folder: Path, limit_bytes: int | None = None) -> subprocess.Popen[str]:
    """Start a command; its files may not grow beyond a size."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes or 0, limit_bytes or 0))

    return subprocess.Popen(
        [sys.executable, "-m", "scsc_lab", *words],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=limit if limit_bytes else None,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Return the exit code of a command and what it printed on stderr; one that does not end is killed."""
    try:
        error = process.communicate(timeout=LONGEST_SECONDS)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        error = process.communicate()[1] + "Traceback: it did not end"
    return process.returncode, error


def rows(folder: Path) -> dict[str, list[Row]]:
    """Return the rows of a store, of a report under way, or of one that is written."""
    paths = (folder / "rows.db", folder / "reports/mine/rows.partial.db", folder / "reports/mine/rows.jsonl")
    return next((rowfile.opened(path).all_rows() for path in paths if path.exists()), {})


def wait_for_rows(process: subprocess.Popen[str], folder: Path) -> None:
    """Wait until a command has stored a row, or has ended."""
    while process.poll() is None and not rows(folder):
        time.sleep(0.1)


def clear(folder: Path) -> None:
    """Remove what commands have written."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != "net.py":
            path.unlink()


@contextlib.contextmanager
def workplace(distributed: bool = False) -> Iterator[tuple[Path, list[str]]]:
    """Yield a folder with the network, and the address of a Dask scheduler whose two workers find it, or nothing."""
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        Path("net.py").write_text(NETWORK)
        if not distributed:
            yield Path(name), []
            return
        from distributed import LocalCluster

        scratch = tempfile.mkdtemp()
        options = {"dashboard_address": None, "local_directory": scratch}
        with LocalCluster(n_workers=2, threads_per_worker=1, **options) as cluster:
            yield Path(name), [cluster.scheduler_address]


def children(parent: int) -> list[int]:
    """Return the processes that a process has started."""
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True, check=False)
    return [int(word) for word in listed.stdout.split()]


def is_running(pid: int) -> bool:
    """Return whether a process runs."""
    listed = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return listed.stdout.strip()[:1] not in ("", "Z")


if __name__ == "__main__":
    main()
