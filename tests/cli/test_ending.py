"""How commands end before their work does: by a signal, at a time limit, with their workers and threads."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import torch

from scsc_lab.execution import ending
from scsc_lab.store import Store

NETWORKS = """
import os, sys, threading, time
import torch
from torch import nn

def begin():
    print("begun", flush=True)

class Tiny(nn.Sequential):
    def __init__(self, width: int = 4):
        super().__init__(nn.Conv2d(3, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 3))

class Never(Tiny):
    def forward(self, x):
        begin()
        while True:
            pass

class Slow(Tiny):
    def forward(self, x):
        begin()
        time.sleep(1)
        return super().forward(x)

class Raises(Tiny):
    def forward(self, x):
        if self.training:
            raise ValueError("no luck")
        return super().forward(x)

class InModes(Tiny):
    def forward(self, x):
        with torch.overrides.BaseTorchFunctionMode(), torch.device("meta"):
            begin()
            while True:
                torch.add(torch.ones(1), 1)

def never():
    begin()
    while True:
        pass

def executed():
    begin()
    exec("while True: pass")

def stubborn():
    begin()
    while True:
        try:
            time.sleep(1)
        except BaseException:
            pass

class Stubborn(Tiny):
    def forward(self, x):
        stubborn()

def threaded():
    threading.Thread(target=time.sleep, args=(10000,)).start()
    print("from the factory \\x1b[31m")
    os.write(1, b"from a library\\n")
    os.system("echo from a program")
    import warnings
    warnings.warn("red \\x1b[31m")
    return Tiny()
"""
LONGEST = 120
"""Seconds that a command may take to end: one that goes on takes for ever."""


@pytest.fixture
def start(tmp_path):
    """Return a function that starts a command beside net.py and waits until code of net.py runs."""
    (tmp_path / "net.py").write_text(NETWORKS)
    started = []

    def begin(*words, wait="begun"):
        command = [sys.executable, "-m", "scsc_lab", *words]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, cwd=tmp_path, stdout=pipe, stderr=pipe, text=True, env=environment))
        for line in started[-1].stderr if wait else ():
            if wait in line:
                break
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def end(process):
    """Return how a process ended, and what it printed."""
    out, err = process.communicate(timeout=LONGEST)
    assert "Traceback" not in err
    return process.returncode, out, err


@pytest.mark.parametrize(
    ("network", "sent"),
    [
        *((network, signal.SIGINT) for network in ("never", "executed", "stubborn", "Stubborn", "Never")),
        *((network, signal.SIGTERM) for network in ("stubborn", "Stubborn", "InModes")),
    ],
)
def test_one_signal_ends_code_that_never_returns(start, network, sent):
    process = start("flops", f"net.py:{network}", "--resolution", "8", "--no-check")
    process.send_signal(sent)
    assert end(process) == (128 + sent, "", "scsc-lab: interrupted\n")


@pytest.mark.parametrize(("module", "words"), [("typer", ["--version"]), ("torch", ["flops", "resnet18"])])
def test_an_interrupt_while_modules_are_imported_is_no_traceback(tmp_path, start, module, words):
    (tmp_path / f"{module}.py").write_text("import sys\nprint('begun', file=sys.stderr)\nwhile True: pass\n")
    process = start(*words)
    process.send_signal(signal.SIGINT)
    assert end(process) == (130, "", "scsc-lab: interrupted\n")


@pytest.mark.parametrize("network", ["stubborn", "Never"])
def test_a_time_limit_names_the_network(start, network):
    words = ("erf", f"net.py:{network}", "--resolution", "8", "--layer", "0", "--samples", "1", "--seeds", "1")
    code, out, err = end(start(*words, "--timeout", "1", wait=""))
    assert (code, out) == (2, "")
    assert err.endswith(f"scsc-lab: net.py:{network} took longer than --timeout 1 seconds\n")


def test_threads_of_a_network_do_not_keep_the_process_and_its_prints_are_no_results(start):
    code, out, err = end(start("flops", "net.py:threaded", "--resolution", "8", "--format", "json", wait=""))
    assert code == 0
    assert json.loads(out)["rows"]
    assert all(text in err for text in ("from the factory", "from a library", "from a program"))
    assert "red \\x1b[31m" in err


def test_a_network_that_fails_in_training_is_named(start):
    words = ("--train-images", "64", "--test-images", "8", "--seeds", "1", "--epochs", "1", "--resolution", "32")
    code, _, err = end(start("train", "net.py:Raises", *words, wait=""))
    assert code == 2
    assert "net.py:Raises fails in training: ValueError: no luck (net.py, line " in err


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_workers_end_with_their_parent_and_rows_are_kept(start, tmp_path, sent, code):
    process = start(*SLOW, "--jobs", "2")
    deadline = wait_for_rows(tmp_path / "rows.db", 2)
    workers = _children(process.pid)
    assert len(workers) >= 2
    process.send_signal(sent)
    assert end(process)[0] == code
    while any(map(_is_running, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(_is_running, workers))
    assert 2 <= len(Store(tmp_path / "rows.db").keys()) < 40


def _children(parent):
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True, check=True)
    return [int(word) for word in listed.stdout.split()]


def _is_running(pid):
    listed = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return listed.stdout.strip()[:1] not in ("", "Z")


@pytest.fixture
def cluster(tmp_path):
    """A function that starts a scheduler and a worker, each a process of its own; the scheduler's address first."""
    pytest.importorskip("distributed", reason="Dask is not installed")
    processes = []

    def begin(*worker_options, folder=tmp_path):
        port = str(_free_port())
        address = f"tcp://127.0.0.1:{port}"
        scheduler = ["scheduler", "--host", "127.0.0.1", "--port", port]
        worker = ["worker", address, "--no-nanny", "--nthreads", "1", *worker_options]
        for role, *words in (scheduler, worker):
            command = [sys.executable, "-m", f"distributed.cli.dask_{role}", *words, "--no-dashboard"]
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            processes.append(subprocess.Popen(command, cwd=folder, **quiet))
        return address, *processes

    yield begin
    for process in processes:
        process.kill()
        process.wait()


def _free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


GRID = ("--grid", f"width={','.join(map(str, range(1, 40)))}")
SLOW = ("ablate", "net.py:Slow", *GRID, "--with", "macs", "--resolution", "8", "--no-draw", "--store", "rows.db")


def wait_for_rows(path, number):
    """Return when to give up, once a store has some measurements."""
    deadline = time.monotonic() + LONGEST
    while len(Store(path).keys()) < number and time.monotonic() < deadline:
        time.sleep(0.1)
    return deadline


@pytest.mark.parametrize(
    ("ends", "code", "message"),
    [("command", 130, "interrupted"), ("scheduler", 2, "the Dask scheduler"), ("worker", 2, "no workers after")],
)
def test_rows_are_kept_when_a_part_of_a_cluster_ends(cluster, start, tmp_path, ends, code, message):
    address, scheduler, worker = cluster()
    process = start(*SLOW, "--executor", address, "--executor-timeout", "60" if ends != "worker" else "10", wait="")
    wait_for_rows(tmp_path / "rows.db", 2)
    ended = {"command": process, "scheduler": scheduler, "worker": worker}[ends]
    ended.send_signal(signal.SIGINT if ends == "command" else signal.SIGKILL)
    returned, _, err = end(process)
    assert returned == code, err
    assert message in err
    assert 2 <= len(Store(tmp_path / "rows.db").keys()) < 40


WORKERS = {
    "another version": ("", "has scsc-lab 0.0.1, and here it is", "import scsc_lab; scsc_lab.__version__ = '0.0.1'"),
    "no package": ("", "has no scsc-lab", "import sys; sys.modules['scsc_lab'] = None"),
    "no file": ("elsewhere", "no file", ""),
    "another file": ("elsewhere", "its code or weights differ", NETWORKS + "\n# changed"),
}


@pytest.mark.parametrize("fault", WORKERS)
def test_a_worker_that_does_not_fit_is_one_line(cluster, start, tmp_path, fault):
    place, message, text = WORKERS[fault]
    folder = tmp_path / place
    folder.mkdir(exist_ok=True)
    code_of_worker = folder / ("net.py" if place else "begins.py")
    if text:
        code_of_worker.write_text(text)
    address, *_ = cluster(*(() if place else ("--preload", "begins.py")), folder=folder)
    code, out, err = end(start(*SLOW, "--executor", address, wait=""))
    assert (code, out) == (2, "")
    complaints = [line for line in err.splitlines() if line.startswith("scsc-lab: ") and "waiting" not in line]
    assert len(complaints) == 1
    assert message in complaints[0]


def test_a_second_interrupt_ends_at_once(start):
    process = start("flops", "net.py:stubborn", "--resolution", "8", "--no-check")
    time.sleep(0.5)  # until it is where it catches everything
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    second = time.monotonic()
    assert end(process) == (130, "", "scsc-lab: interrupted\n")
    assert time.monotonic() - second < ending.GRACE_SECONDS - 0.5  # sooner than the first one alone


def test_weights_that_are_not_finite_are_refused(start, tmp_path):
    weights = {"0.weight": torch.full((4, 3, 3, 3), torch.nan), "0.bias": torch.zeros(4)}
    weights |= {"3.weight": torch.zeros(3, 4), "3.bias": torch.zeros(3)}
    torch.save(weights, tmp_path / "nan.pth")
    words = ("erf", "net.py:Tiny", "--weights", "nan.pth", "--resolution", "8", "--layer", "0", "--samples", "1")
    code, out, err = end(start(*words, wait=""))
    assert (code, out) == (2, "")
    assert "finite" in err
