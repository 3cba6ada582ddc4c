"""Argument lists over all commands, most of them nearly right: none makes a command fall over."""

from __future__ import annotations

import os
import random
import resource
import signal

import pytest
import typer

from scsc_lab.cli import app, main

LISTS = int(os.environ.get("SCSC_LAB_FUZZ", "200"))
"""How many; the slow suite sets more."""

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
HOSTILE = (
    "",
    "x",
    "-1",
    "0",
    "nan",
    "inf",
    "1e999",
    "9" * 5000,
    "é\n\x1b[31m",
    "\0",
    "../..",
    "--",
    "a=b",
    ",",
    "\udcff",
)
FILES = (
    "out.csv",
    "out.md",
    "out.json",
    "out.tex",
    "out.txt",
    "out.png",
    "out.svg",
    "out.npz",
    "rows.jsonl",
    "out.docx",
)
PLACES = (*FILES, *FILES, ".", "/proc/x/y.csv", "net.py/x.md", "/dev/full", "n" * 300 + ".csv", "own.csv", "bad.jsonl")
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

ALWAYS = {
    "latency": ["--pairs=1", "--min-time=0", "--max-time=0.01", "--threads=1", "--resolution=16"],
    "erf": ["--samples=1", "--seeds=1", "--layer=0", "--resolution=16"],
    "compare": ["--with=params,macs"],
    "ablate": ["--with=params", "--no-draw", "--grid=width=2,4"],
    "roofline": ["--pairs=1", "--min-time=0", "--max-time=0.01", "--resolution=16"],
    "search": ["--space=width=2,4", "--minimise=params", "--trials=2", "--resolution=16"],
    "sweep": ["--with=params,macs", "--over=width=2,4"],
}
COMMANDS = typer.main.get_command(app).commands


def arguments(rolled: random.Random) -> list[str]:
    """Return an argument list: a command that would measure something small, and options that may be wrong."""
    name = rolled.choice([*COMMANDS, *["flops", "models", "compare", "ablate", "report", "train"] * 2])
    options = [parameter for parameter in COMMANDS[name].params if parameter.opts[0].startswith("-")]
    found = [*ALWAYS.get(name, [])]
    if "models" in {parameter.name for parameter in COMMANDS[name].params}:
        found += rolled.choices(MODELS, [9] * 15 + [1] * (len(MODELS) - 15), k=rolled.choice((0, 1, 1, 1, 1, 2)))
    elif name == "ablate":
        found += rolled.choices(MODELS, k=1)
    for option in rolled.choices(options, k=rolled.choice((0, 1, 1, 2, 3, 5))):
        word = next(one for one in option.opts if one.startswith("--"))
        if word in NEVER:
            continue
        if option.is_flag:
            found.append(word)
            continue
        usual = VALUES.get(word) or PLACES
        wrong = rolled.random() < 0.1
        found += [word, rolled.choice(HOSTILE) if wrong else usual[int(len(usual) * rolled.random() ** 3)]]
    if rolled.random() < 0.1:
        found.insert(rolled.randrange(len(found) + 1), rolled.choice((*HOSTILE, "--nonsense", "--help", "-o")))
    return [name, *found]


VALID = {
    "models": [],
    "flops": ["net.py:Tiny", "--resolution=16"],
    "latency": ["net.py:Tiny", "net.py:Tiny[width=8]"],
    "roofline": ["net.py:Tiny"],
    "erf": ["net.py:Tiny"],
    "compare": ["net.py:Tiny", "net.py:Tiny[width=8]", "--resolution=16"],
    "ablate": ["net.py:Tiny", "--resolution=16"],
    "search": ["net.py:Tiny"],
    "sweep": ["net.py:Tiny", "--resolution=16"],
    "train": ["net.py:Tiny", "--data=navon", "--seeds=1", "--epochs=1", "--resolution=16"],
    "evaluate": ["net.py:Tiny[outputs=20]", "--data=navon", "--resolution=16"],
    "export": ["net.py:Tiny", "--resolution=16", "-o", "out.onnx"],
    "paper": [],
    "report": ["--name=mine", "net.py:Tiny", "--with=params,macs"],
}
"""A command of each kind that is right as it is, with what ALWAYS adds."""


def mutated(rolled: random.Random) -> list[str]:
    """Return a valid command with one to three of its options changed, left out, repeated or added."""
    name = rolled.choice([*COMMANDS])
    words = [*VALID[name], *ALWAYS.get(name, [])]
    options = [option for option in COMMANDS[name].params if option.opts[0].startswith("--")]
    options = [option for option in options if option.opts[0] not in NEVER]
    for _ in range(rolled.choice((1, 1, 2, 3))):
        at = rolled.randrange(len(words)) if words else 0
        way = rolled.choice(("change", "add", "add", "add", "omit", "repeat"))
        if way == "add":
            option = rolled.choice(options)
            value = rolled.choice(VALUES.get(option.opts[0]) or PLACES)
            words.append(option.opts[0] if option.is_flag else f"{option.opts[0]}={value}")
        elif words and way == "omit":
            del words[at]
        elif words and way == "repeat":
            words.append(words[at])
        elif words:
            option, _, value = words[at].rpartition("=")
            values = HOSTILE if rolled.random() < 0.3 else VALUES.get(option) or (*MODELS, value)
            words[at] = f"{option}={rolled.choice(values)}" if option else rolled.choice(values)
    return [name, *words]


@pytest.mark.parametrize("generate", [arguments, mutated])
def test_no_argument_list_makes_a_command_fall_over(generate, tmp_path, monkeypatch, capsys):
    rolled = random.Random(11)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    heavy_functions = ("report.experiments", "probe.run", "publish.claims", "train.run")
    for heavy in heavy_functions:
        monkeypatch.setattr(f"scsc_lab.experiments.{heavy}", interrupted)

    monkeypatch.setattr("scsc_lab.timing.roofs.COPIED_BYTES", 2**20)

    def hangs(*_):
        pytest.fail(f"{given} does not end")

    signal.signal(signal.SIGPROF, hangs)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ends = dict.fromkeys(ENDS, 0)
    for _ in range(LISTS):
        (tmp_path / "net.py").write_text(NETWORKS)
        (tmp_path / "bad.jsonl").write_text('{"key": "a", "table": "run"}\n')
        (tmp_path / "bad.toml").write_text('studies = [1]\n[grid]\nwidth = [{}, "x"]\n')
        (tmp_path / "own.csv").write_text("model,metric,value\nnet.py:Tiny,score,high\n")
        given = generate(rolled)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        code = main(given)
        signal.setitimer(signal.ITIMER_PROF, 0)
        captured = capsys.readouterr()
        assert code in ENDS, given
        ends[code] += 1
        complaint = [line for line in captured.err.splitlines() if line.startswith("scsc-lab: ")]
        assert "Traceback" not in captured.err, given
        assert "python -X dev" not in captured.err, (given, captured.err)  # what nobody has foreseen
        assert code != 2 or len(complaint) == 1, (given, captured.err)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
    assert grown < 2, f"{grown:.1f} GiB"
    assert min(ends[0], ends[2]) > LISTS / 20, ends  # the lists are neither all right nor all wrong
