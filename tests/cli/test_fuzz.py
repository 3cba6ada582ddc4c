"""Valid commands of every kind with one to three options changed: none makes a command fall over."""

from __future__ import annotations

import os
import random
import resource
import signal

import pytest
import typer

from scsc_lab.cli import app, main
from scsc_lab.experiments import publish
from scsc_lab.settings import Timing

LISTS = int(os.environ.get("SCSC_LAB_FUZZ", "100"))
"""Argument lists; the slow suite sets 2,000."""

ENDS = {0, 1, 2, 130, 143}
SECONDS = 60
"""Of the processor, after which a command counts as hanging."""

NETWORKS = """
import sys
import torch
from torch import nn

class Tiny(nn.Sequential):
    def __init__(self, width: int = 4, outputs: int = 3):
        super().__init__(
            nn.Conv2d(3, width, 3, 2, 1), nn.ReLU(), nn.Conv2d(width, width, 3, 2, 1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, outputs),
        )

def fails():
    raise ValueError("no\\nnetwork")

def leaves():
    sys.exit(0)

class Ends(Tiny):
    def forward(self, x):
        sys.exit(0)

class Wrong(Tiny):
    def forward(self, x):
        return super().forward(x.flatten(1))

class Itself(Tiny):
    def __init__(self):
        super().__init__()
        self[0].inner = self
"""

MODELS = (
    *(["net.py:Tiny"] * 12 + ["net.py:Tiny[width=8]"] * 3),
    *("net.py:fails net.py:leaves net.py:Ends net.py:Wrong net.py:Itself net.py:none none.py:f net:Tiny".split()),
    *("resnet5 timm:nothing torchvision:nothing timm: :f a:b[c=1 net.py:Tiny[width=x] net.py:Tiny[widht=1]".split()),
    *("net.py:Tiny[ []  = \udcff ../net.py:Tiny net.py:Tiny[width=1,2]".split(" ")),
)
HOSTILE = ("", "x", "-1", "0", "nan", "inf", "1e999", "9" * 5000, "é\n\x1b[31m", "\0", "../..", "--", "a=b", ",")
FILES = [f"out.{suffix}" for suffix in "csv md json tex txt png svg npz docx".split()] + ["rows.jsonl"]
PLACES = (*FILES, *FILES, *". /proc/x/y.csv net.py/x.md /dev/full own.csv bad.jsonl \udcff".split(), "n" * 300 + ".csv")
VALUES = {
    "--set": ("width=2", "width=8", "width=x", "widht=3", "width=", "=", "width=1e9", "width=-1"),
    "--rule": (
        "replace=depthwise",
        "replace=x",
        "kernels=3,5",
        "kernels=4",
        "names=0",
        "names=*",
        "stages=1",
        "stages=x",
    ),
    "--resolution": ("16", "16x24", "32", "0", "16x", "1"),
    "--batch": ("1", "2", "0", "1.5"),
    "--batch-sizes": ("1", "1,2", "1,,2", "x"),
    "--channels": ("3", "1", "0"),
    "--device": ("cpu", "auto", "cuda", "cuda:9", "mps", "tpu"),
    "--dtype": ("float32", "float64", "bfloat16", "float16", "int8"),
    "--memory-format": ("contiguous", "channels_last", "auto", "x"),
    "--threads": ("1", "2", "0"),
    "--pairs": ("1", "2", "0"),
    "--min-time": ("0", "0.01", "9"),
    "--max-time": ("0", "0.01"),
    "--delta": ("2", "0", "100"),
    "--samples": ("1", "2", "0"),
    "--seeds": ("1", "2", "0"),
    "--seed": ("0", "7", "-1"),
    "--by": ("stage", "module", "operator", "block"),
    "--depth": ("1", "3", "0"),
    "--max-macs": ("1M", "4.5", "1e3", "x"),
    "--max-params": ("1M", "10", "x"),
    "--with": ("params,macs", "macs", "latency", "erf", "params,latency,erf", "top1", "nothing", ","),
    "--plot": ("params,macs", "macs,latency", "macs", "out.png", "x,y"),
    "--stage": ("1", "2", "all", "stride2", "9"),
    "--layer": ("2", "none"),
    "--layout": ("nchw", "nhwc", "nlc", "x"),
    "--method": ("linear", "replknet", "x"),
    "--contribution": ("abs", "relu", "signed", "x"),
    "--study": ("components", "groups", "sqlite:///study.db", "x"),
    "--grid": ("width=2,4", "width=x", "kernels=3;5", "width", "rule.kernels=3;5", "="),
    "--mixer": ("scsc", "depthwise", "x"),
    "--label": ("Ours=net.py:Tiny", "Ours", "=x", "a=b=c"),
    "--data": ("navon", "faces", "imagefolder:.", "hf:none", "x"),
    "--task": ("classification", "verification", "x"),
    "--recipe": ("pico", "cifar", "x"),
    "--recipe-set": ("lr=1e-3", "lr=x", "epochs=1", "="),
    "--split": ("0.2", "0", "2", "x"),
    "--far": ("0.01", "2", "x"),
    "--weights-format": (".pth", ".safetensors", ".bin"),
    "--tolerance": ("1", "0", "-1", "x"),
    "--name": ("mine", "..", "a/b", ""),
    "--format": ("table", "json", "csv", "markdown", "html", "latex", "xml"),
    "--jobs": ("1", "0"),
    "--executor": ("local",),
    "--over": ("resolution=16,24", "width=2,4", "batch=1,2", "dtype=float32,x", "resolution=16", "x"),
    "--space": ("width=2,4", "kernels", "width=1..9:2", "rule.mixer", "width", "="),
    "--minimise": ("params", "macs", "latency", "x"),
    "--maximise": ("params", "macs", "erf", "x"),
    "--near": ("macs=-22%", "params=1M", "latency=1", "x"),
    "--budget": ("macs<=1M", "latency<=5", "erf>=1%", "x"),
    "--trials": ("1", "2", "0"),
    "--sampler": ("auto", "exact", "random", "x"),
    "--family": ("resnet", "swin", "vit"),
    "--baseline": ("net.py:Tiny", "resnet18", "x"),
    "--model": MODELS,
    "--weights": ("w.pth", "net.py", "/dev/zero", "net.py:Tiny=w.pth", "bad.jsonl"),
    "--images": (".", "/nowhere", "net.py"),
    "--config": ("bad.toml", "net.py", "none.toml"),
}
NEVER = {"--compile", "--install-completion", "--show-completion"}
"""What takes seconds, or changes the user's shell."""

QUICK = ["--pairs=1", "--min-time=0", "--max-time=0.01"]
VALID = {
    "models": [],
    "flops": ["net.py:Tiny", "--resolution=16"],
    "latency": ["net.py:Tiny", "net.py:Tiny[width=8]", *QUICK, "--threads=1", "--resolution=16"],
    "roofline": ["net.py:Tiny", *QUICK, "--resolution=16"],
    "erf": ["net.py:Tiny", "--samples=1", "--seeds=1", "--layer=0", "--resolution=16"],
    "compare": ["net.py:Tiny", "net.py:Tiny[width=8]", "--resolution=16", "--with=params,macs"],
    "ablate": ["net.py:Tiny", "--resolution=16", "--with=params", "--no-draw", "--grid=width=2,4"],
    "search": ["net.py:Tiny", "--space=width=2,4", "--minimise=params", "--trials=2", "--resolution=16"],
    "sweep": ["net.py:Tiny", "--resolution=16", "--with=params,macs", "--over=width=2,4"],
    "train": ["net.py:Tiny[outputs=20]", "--data=navon", "--seeds=1", "--epochs=1", "--resolution=16"],
    "evaluate": ["net.py:Tiny[outputs=20]", "--data=navon", "--resolution=16"],
    "export": ["net.py:Tiny", "--resolution=16", "-o", "out.onnx"],
    "paper": [],
    "report": ["--name=mine", "net.py:Tiny", "--with=params,macs"],
}
"""A command of each kind that is right as it is."""

COMMANDS = typer.main.get_command(app).commands


def mutated(draw: random.Random) -> list[str]:
    """Return a valid command with one to three of its words changed, left out, repeated or added."""
    name = draw.choice([*COMMANDS])
    words = [*VALID[name]]
    options = [option for option in COMMANDS[name].params if option.opts[0].startswith("--")]
    options = [option for option in options if option.opts[0] not in NEVER]
    for _ in range(draw.choice((1, 1, 2, 3))):
        at = draw.randrange(len(words)) if words else 0
        way = draw.choice(("change", "change", "add", "add", "add", "omit", "repeat", "hostile"))
        if way == "add":
            option = draw.choice(options)
            value = draw.choice(VALUES.get(option.opts[0]) or PLACES)
            words.append(option.opts[0] if option.is_flag else f"{option.opts[0]}={value}")
        elif way == "hostile":
            words.insert(at, draw.choice((*HOSTILE, "--nonsense", "--help", "-o")))
        elif words and way == "omit":
            del words[at]
        elif words and way == "repeat":
            words.append(words[at])
        elif words:
            option, _, value = words[at].rpartition("=")
            values = HOSTILE if draw.random() < 0.3 else VALUES.get(option) or (*MODELS, value)
            words[at] = f"{option}={draw.choice(values)}" if option else draw.choice(values)
    return [name, *words]


def test_a_command_of_each_kind_is_right_before_it_is_changed():
    assert VALID.keys() == COMMANDS.keys()


def test_no_argument_list_makes_a_command_fall_over(tmp_path, monkeypatch, capsys):
    draw = random.Random(11)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    make_quick(monkeypatch)
    signal.signal(signal.SIGPROF, lambda *_: pytest.fail(f"{words} does not end"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ends, faults = dict.fromkeys(ENDS, 0), []
    for _ in range(LISTS):
        (tmp_path / "net.py").write_text(NETWORKS)
        (tmp_path / "bad.jsonl").write_text('{"key": "a", "table": "run"}\n')
        (tmp_path / "bad.toml").write_text('studies = [1]\n[grid]\nwidth = [{}, "x"]\n')
        (tmp_path / "own.csv").write_text("model,metric,value\nnet.py:Tiny,score,high\n")
        words = mutated(draw)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        code = main(words)
        signal.setitimer(signal.ITIMER_PROF, 0)
        error = capsys.readouterr().err
        ends[code] = ends.get(code, 0) + 1
        complaints = [line for line in error.splitlines() if line.startswith("scsc-lab: ")]
        unforeseen = "Traceback" in error or "python -X dev" in error
        if code not in ENDS or unforeseen or (code == 2 and len(complaints) != 1):
            faults.append((words, code, error))
    gibibytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
    print(ends, f"{gibibytes:.1f} GiB more")
    assert not faults, "\n".join(map(repr, faults))
    assert gibibytes < 2
    assert min(ends[0], ends[2]) > LISTS / 5, ends  # the lists are neither all right nor all wrong


def make_quick(monkeypatch):
    """Let every command measure little, whatever its options; what has no options for it is interrupted."""
    for name in ("navon", "faces"):
        monkeypatch.setattr(f"scsc_lab.training.data.{name}.TRAIN_IMAGES", 40)
        monkeypatch.setattr(f"scsc_lab.training.data.{name}.TEST_IMAGES", 20)
    monkeypatch.setattr("scsc_lab.timing.roofs.COPIED_BYTES", 2**20)
    for name, value in (("least_seconds", 0.0), ("warm_up_limit", 0.01), ("looks", (2,))):
        monkeypatch.setattr(Timing, name, value)

    claims = publish.claims([])
    monkeypatch.setattr(publish, "claims", lambda *_: claims)

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    for name in ("report.default_groups", "probe.run"):
        monkeypatch.setattr(f"scsc_lab.experiments.{name}", interrupted)
