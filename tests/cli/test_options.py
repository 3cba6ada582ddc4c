"""Every option of every command acts or is refused: a new one that does nothing fails here."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import io
import pkgutil
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from PIL import Image

import scsc_lab
from scsc_lab import InputError
from scsc_lab.analysis import mapfile
from scsc_lab.analysis.field import Field, Setting
from scsc_lab.cli import app
from scsc_lab.experiments.results import Result
from scsc_lab.experiments.runner import Measured
from scsc_lab.experiments.search.exact import SearchResult
from scsc_lab.provenance import RunInfo
from scsc_lab.store import Store

COMMANDS = typer.main.get_command(app).commands
NETWORK = """
from torch import nn


class Net(nn.Sequential):
    def __init__(self, width: int = 8):
        super().__init__(
            nn.Conv2d(3, width, 3, 2, 1), nn.ReLU(), nn.Sequential(nn.Conv2d(width, width, 3, 1, 1), nn.ReLU()),
            nn.Conv2d(width, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )
"""
TWO = ["net.py:Net", "net.py:Net[width=4]"]
SMALL = ["--resolution", "16"]
NAMED = {
    "--model": ["-m", "net.py:Net[width=2]"],
    "--set": ["--set", "width=16"],
    "--label": ["--label", "Ours=net.py:Net"],
    "--resolution": ["--resolution", "24"],
    "--channels": ["--channels", "3"],
    "--transplant": ["--transplant"],
    "--mixer": ["--mixer", "depthwise"],
    "--rule": (["--transplant"], ["--rule", "kernels=3,5"]),
    "--weights": ["--weights", "net.py:Net=weights.pth"],
    "--resize-weights": (["--weights", "net.py:Net=weights.pth"], ["--resize-weights"]),
}
MACHINE = {"--device": ["--device", "cpu"], "--threads": ["--threads", "2"], "--seed": ["--seed", "3"]}
INPUT = {"--input": ["--input", "1x3x16x16"]}
TYPESET = {
    "--caption": (["--format", "latex"], ["--caption", "Ours"]),
    "--tex-label": (["--format", "latex"], ["--tex-label", "tab:ours"]),
}
SHOWN = {"--format": ["--format", "csv"], "--output": ["-o", "out.csv"], **TYPESET}
EMITTED = {**SHOWN, "--store": ["--store", "rows.db"]}
PAIRED = {"--baseline": ["--baseline", TWO[1]], "--pair": ["--pair", f"{TWO[1]}:{TWO[0]}"]}
TRAINED = {"--data": ["--data", "faces"], "--recipe": ["--recipe", "cifar"], "--recipe-set": ["--recipe-set", "lr=1"]}
KEPT = {"--jobs": ["--jobs", "2"], "--executor": ["--executor", "tcp://h:1"]}
KEPT["--executor-timeout"] = ["--executor-timeout", "9"]
FIELDS = {"--samples": ["--samples", "2"], "--stage": ["--stage", "2"], "--seeds": ["--seeds", "2"]}
BUDGET = {"--max-time": ["--max-time", "3"], "--runtime": ["--runtime", "compile"]}
BUDGET |= {"--pairs": ["--pairs", "3"], "--delta": ["--delta", "5"]}
ALL = ["--with", "params,latency,erf,accuracy"]
SCHEDULED = {
    "--budgets": ["--budgets", "1,2"],
    "--tune": ["--tune", "lr=1e-3,1e-2"],
    "--tune-epochs": (["--tune", "lr=1e-3,1e-2"], ["--tune-epochs", "3"]),
    "--tune-seeds": (["--tune", "lr=1e-3,1e-2"], ["--tune-seeds", "3"]),
}
TABLE = {
    "--image-column": (["--data", "csv:images.csv"], ["--image-column", "picture"]),
    "--label-column": (["--data", "csv:images.csv"], ["--label-column", "kind"]),
}

READ = ["--data", "imagefolder:."]

BASE = {
    "flops": [*TWO, *SMALL],
    "latency": [*TWO, *SMALL],
    "erf": [TWO[0], *SMALL],
    "export": [TWO[0], *SMALL, "-o", "net.pt2"],
    "compare": [*TWO, *SMALL, *ALL],
    "models": [],
    "paper": [],
    "ablate": [TWO[0], *SMALL, *ALL, "--config", "grid.toml", "--no-draw"],
    "report": [*TWO, *SMALL, *ALL],
    "search": [
        *(TWO[0], *SMALL, "--space", "width=2,4", "--minimise", "latency", "--maximise", "erf,accuracy"),
        *("--sampler", "random", "--trials", "7", "--store", "search.db"),
    ],
    "roofline": [*TWO, *SMALL],
    "sweep": [*TWO, "--over", "width=2,3", "--with", "params,latency,erf,accuracy"],
    "train": TWO,
    "evaluate": [*TWO, *SMALL],
}
DRAWN = ["--plot", "plot.png"]
OPTIONS = {
    "flops": {
        **NAMED,
        **INPUT,
        **EMITTED,
        "--batch": ["--batch", "2"],
        "--deploy": ["--deploy"],
        **PAIRED,
        "--by": ["--by", "stage"],
        "--channels": ["--channels", "4"],
        "--weights": ["--weights", "missing.pth"],
        "--depth": (["--by", "module"], ["--depth", "1"]),
        "--train": ["--train"],
        "--check": ["--no-check"],
        "--max-macs": ["--max-macs", "1K"],
        "--max-params": ["--max-params", "0"],
        "--convention": ["--convention", "flops"],
        "--dtype": ["--dtype", "float64"],
    },
    "latency": {
        **NAMED,
        **INPUT,
        "--streams": ["--streams", "2"],
        "--percentiles": ["--percentiles", "95"],
        **MACHINE,
        **EMITTED,
        **BUDGET,
        "--batch-sizes": ["--batch-sizes", "2"],
        "--deploy": ["--deploy"],
        **PAIRED,
        "--dtype": ["--dtype", "float64"],
        "--memory-format": ["--memory-format", "contiguous"],
        "--compile": ["--compile"],
        "--train": ["--train"],
        "--min-time": ["--min-time", "1"],
        "--warm-up": ["--warm-up", "1"],
        "--resamples": ["--resamples", "3000"],
        "--precision": ["--precision", "5"],
        "--self-test": ["--self-test"],
        "--by": ["--by", "stage"],
        "--plot": DRAWN,
        "--width": (DRAWN, ["--width", "page"]),
        "--titles": (DRAWN, ["--no-titles"]),
    },
    "erf": {
        **NAMED,
        "--stage": ["--stage", "1"],
        "--layer": ["--layer", "0"],
        "--layout": ["--layout", "nchw"],
        "--images": ["--images", "."],
        "--samples": ["--samples", "3"],
        "--method": ["--method", "replknet"],
        "--contribution": ["--contribution", "relu"],
        "--seeds": ["--seeds", "2"],
        "--batch": ["--batch", "2"],
        "--device": ["--device", "cpu"],
        "--seed": ["--seed", "3"],
        "--save": ["--save", "maps.npz"],
        "--from": ([], ["--from", "maps.npz"]),
        "--output": ["-o", "field.pdf"],
        "--table": ["--table", "table.csv"],
        "--width": ["--width", "page"],
        "--titles": ["--no-titles"],
        "--panels": ["--panels", "profiles"],
        "--format": ["--format", "csv"],
        **TYPESET,
        "--store": ["--store", "rows.db"],
    },
    "export": {
        **{key: value for key, value in NAMED.items() if key not in ("--model", "--label")},
        **INPUT,
        "--output": ["-o", "other.pt2"],
        "--deploy": ["--deploy"],
        "--dynamic-batch": ["--dynamic-batch"],
        "--opset": (["-o", "net.onnx"], ["--opset", "18"]),
        "--seed": ["--seed", "3"],
        "--format": ["--format", "csv"],
        **TYPESET,
        "--store": ["--store", "rows.db"],
    },
    "compare": {
        **NAMED,
        **INPUT,
        **MACHINE,
        **EMITTED,
        **TRAINED,
        **KEPT,
        **FIELDS,
        **SCHEDULED,
        **BUDGET,
        "--with": ["--with", "params"],
        "--accuracy": ["--accuracy", "own.csv"],
        "--by": None,
        "--bold-best": (["--format", "latex"], ["--bold-best"]),
        "--plot": ["--plot", "params,latency"],
        "--figure": (["--plot", "params,latency"], ["--figure", "c.png"]),
        "--batch": ["--batch", "2"],
        **PAIRED,
        "--width": (["--plot", "params,latency"], ["--width", "page"]),
        "--titles": (["--plot", "params,latency"], ["--no-titles"]),
    },
    "models": {**SHOWN, "--family": ["--family", "swin"]},
    "paper": {**SHOWN, "--tolerance": ["--tolerance", "100"], "--probe": ["--probe", "runs.jsonl"]},
    "ablate": {
        **{key: value for key, value in NAMED.items() if key != "--model"},
        **INPUT,
        **MACHINE,
        **EMITTED,
        **TRAINED,
        **KEPT,
        **FIELDS,
        **SCHEDULED,
        **BUDGET,
        "--with": ["--with", "params"],
        "--study": (["--transplant"], ["--study", "components"]),
        "--grid": ["--grid", "width=3"],
        "--vary": ["--vary", "width=3"],
        "--config": ["--config", "other.toml"],
        "--batch": ["--batch", "2"],
        "--draw": ["--draw"],
        "--figures": (["--draw"], ["--figures", "figures"]),
        "--width": (["--draw"], ["--width", "column"]),
        "--titles": (["--draw"], ["--no-titles"]),
    },
    "search": {
        **{key: NAMED[key] for key in ("--set", "--channels")},
        **MACHINE,
        **EMITTED,
        **TRAINED,
        **KEPT,
        **FIELDS,
        **BUDGET,
        "--weights": ["--weights", "weights.pth"],
        "--resolution": ["--resolution", "24"],
        "--batch": ["--batch", "2"],
        "--store": ["--store", "other.db"],
        "--space": ["--space", "width=3,4"],
        "--minimise": ["--minimise", "params"],
        "--maximise": ["--maximise", "macs"],
        "--near": ["--near", "macs=-22%"],
        "--max-macs": ["--max-macs", "3G"],
        "--max-params": ["--max-params", "3M"],
        "--budget": ["--budget", "latency<=5"],
        "--trials": ["--trials", "8"],
        "--max-runs": ["--max-runs", "9"],
        "--sampler": ["--sampler", "tpe"],
        "--study": ["--study", "sqlite:///other.db"],
        "--baseline": ["--baseline", TWO[1]],
        "--figure": ["--figure", "front.png"],
        "--width": (["--figure", "front.png"], ["--width", "page"]),
        "--titles": (["--figure", "front.png"], ["--no-titles"]),
    },
    "roofline": {
        **NAMED,
        **MACHINE,
        **EMITTED,
        "--batch": ["--batch", "2"],
        "--dtype": ["--dtype", "float64"],
        "--memory-format": ["--memory-format", "contiguous"],
        "--pairs": ["--pairs", "3"],
        "--max-time": ["--max-time", "3"],
        "--min-time": ["--min-time", "1"],
        "--warm-up": ["--warm-up", "1"],
        "--plot": DRAWN,
        "--width": (DRAWN, ["--width", "page"]),
        "--titles": (DRAWN, ["--no-titles"]),
    },
    "sweep": {
        **NAMED,
        **INPUT,
        **MACHINE,
        **EMITTED,
        **TRAINED,
        **KEPT,
        **FIELDS,
        **BUDGET,
        "--with": ["--with", "params"],
        "--over": ["--over", "width=2,4"],
        "--deploy": ["--deploy"],
        "--dtype": ["--dtype", "float64"],
        "--batch": ["--batch", "2"],
        "--figures": ["--figures", "figures"],
        "--width": (["--figures", "figures"], ["--width", "page"]),
        "--titles": (["--figures", "figures"], ["--no-titles"]),
    },
    "report": {
        **NAMED,
        **MACHINE,
        **TRAINED,
        **SCHEDULED,
        "--name": ["--name", "mine"],
        "--folder": ["--folder", "elsewhere"],
        "--quick": ["--quick"],
        "--pico": None,
        "--write-weights": None,
        "--jobs": ["--jobs", "2"],
        "--executor": ["--executor", "tcp://h:1"],
        "--executor-timeout": ["--executor-timeout", "9"],
        "--from": None,
        "--probe": None,
        "--against": ["--against", "old.jsonl"],
        "--fail-on": (["--against", "old.jsonl"], ["--fail-on", "worse"]),
        "--html": ["--html"],
        "--open": ["--open"],
        "--with": ["--with", "params"],
        "--mixers": ["--mixers"],
        "--runtime": ["--runtime", "compile"],
        "--seeds": ["--seeds", "2"],
        "--width": ["--width", "page"],
        "--titles": ["--no-titles"],
        "--panels": ["--panels", "maps"],
    },
    "train": {
        **NAMED,
        **MACHINE,
        **EMITTED,
        **TRAINED,
        **KEPT,
        **SCHEDULED,
        **TABLE,
        "--task": ["--task", "verification"],
        "--seeds": ["--seeds", "2"],
        "--epochs": ["--epochs", "2"],
        "--plan": ["--plan"],
        "--until": (["--store", "rows.jsonl"], ["--until", "3"]),
        "--max-seeds": (["--store", "rows.jsonl", "--until", "3"], ["--max-seeds", "30"]),
        "--difficulty": (["--data", "faces", "--write-weights", "w"], ["--difficulty"]),
        "--plot-budgets": (["--budgets", "2,4"], ["--plot-budgets", "budgets.png"]),
        "--train-images": ["--train-images", "64"],
        "--test-images": ["--test-images", "64"],
        "--batch-size": ["--batch-size", "8"],
        "--split": (READ, ["--split", "0.3"]),
        "--skip-unreadable": (READ, ["--skip-unreadable"]),
        "--background": (READ, ["--background", "white"]),
        "--delta": ["--delta", "2"],
        "--self-test": ["--self-test"],
        "--workers": ["--workers", "2"],
        "--write-weights": ["--write-weights", "w"],
        "--weights-format": (["--write-weights", "w"], ["--weights-format", ".pth"]),
        "--plot": DRAWN,
        "--curves": ["--curves", "curves.png"],
        "--baseline": ["--baseline", TWO[1]],
    },
    "evaluate": {
        **{key: value for key, value in NAMED.items() if key not in ("--transplant", "--mixer", "--rule")},
        **MACHINE,
        **EMITTED,
        **TABLE,
        "--by-class": ["--by-class"],
        "--class-map": ["--class-map", "missing.csv"],
        "--pairs": (["--data", "faces"], ["--pairs", "pairs.txt"]),
        "--flip": (["--data", "faces"], ["--flip"]),
        "--data": ["--data", "faces"],
        "--task": ["--task", "verification"],
        "--test-images": ["--test-images", "64"],
        "--split": (READ, ["--split", "0.3"]),
        "--skip-unreadable": (READ, ["--skip-unreadable"]),
        "--background": (READ, ["--background", "white"]),
        "--batch-size": ["--batch-size", "8"],
        "--far": (["--data", "faces"], ["--far", "0.1"]),
        "--predictions": ["--predictions", "p.csv"],
        "--plot": (["--data", "faces"], ["--plot", "missing/roc.txt"]),
        "--baseline": ["--baseline", TWO[1]],
    },
}
"""How to use each option: its words, or a context and its words; none where a test of its own does."""

ROW = {"model": "a", "baseline": "a", "resolution": [16, 16], "params": 1e6, "median_seconds": 1e-3, "study": "grid"}
ROWS = [{**ROW, "variant": "full"}, {**ROW, "model": "b", "variant": "x", "params": 2e6, "params_change": 1.0}]
RUN = {"seed": 0, "status": "complete", "accuracy": 50.0, "head": "", "curve": [], "device": "cpu", "data": "navon"}
RUN |= {"recipe": "pico", "task": "classification", "epochs": 1, "batch_size": 2, "train_images": 4, "test_images": 4}
RUN |= {"train_macs": 1, "seconds": 1.0}
FILE = {"model": "a", "resolution": [16, 16], "batch": 1, "file": "f", "bytes": 1, "opset": 18, "difference": 0.0}
FILE |= {"float32_rounding": None, "outputs_depend_on_input": True}
FILE |= {"resolution_assumed": False}
JUDGED = {"data": "navon", "test_images": 1, "notes": [], "not_finite": 0, "predictions": {"image": ["0"]}}
CLAIM = {"claim": "c", "network": "a", "quantity": "macs", "published": -0.5, "measured": -0.4, "difference": 0.1}
CLAIM |= {"verdict": "differs", "nearest": None, "nearest_change": None, "inferred": None, "published_text": ""}
REPORT = [
    {"table": "run", "schema": 1, "command": "", "machine": {}, "versions": {}},
    *({**row, "table": "comparison"} for row in ROWS),
]


def field(model):
    setting = Setting(
        model, "2", "4", (8, 8), (4.0, 4.0), "linear", "abs", 1, "synthetic 1/f images", 0, "random", 1, 0, 1, False,
        None, "nchw", (4, 4), None, False,
    )  # fmt: skip
    return Field(setting, np.ones((1, 8, 8), np.float32) / 64, None)


TIMED = {
    "form": "ordinary",
    "runtime": "torch",
    "runtime_title": "torch",
    "batch": 1,
    "device": "cpu",
    "dtype": "float32",
}
TIMED |= {"memory_format": "contiguous", "memory_format_asked": "contiguous", "threads": 1, "mode": "eval"}
TIMED |= {"status": "complete", "median_seconds": 0.1, "iqr_seconds": 0.0, "samples": 2, "samples_seconds": [0.1, 0.1]}
TIMED |= {"repeats": 1, "drift": False, "outliers": [], "warm_up_runs": 0, "peak_memory_method": "", "macs_share": 1.0}
TIMED |= dict.fromkeys(("ratio", "ratio_low", "ratio_high", "verdict", "ordinary_ratio", "torch_ratio", "load"))
TIMED |= {"device_name": "CPU", "processor": "CPU", "versions": {}, "clock": "c", "by": "stage", "name": "total"}
TIMED |= {"time_share": 1.0}
COUNTED = {"macs": 2000, "activations": 1, "bytes": 1, "status": "complete", "unknown_operators": {}, "batch": 1}
COUNTED |= {"resolution_assumed": False, "parts": [{"name": "total", "params": 1, "macs": 1, "macs_share": 1.0}]}


def run(experiments, store=None, *_, **__):
    """Return results of experiments with rows that were made up, and keep the map that they name."""
    rows = Store() if store is None else store
    rows.keep("made up", {"metric": "erf"}, [{"made": "up"}], {"field.npz": mapfile.content([field("net")])})
    return Measured(tuple(map(made_up, experiments)))


for _command in OPTIONS.keys() - {"models", "paper"}:
    OPTIONS[_command]["--timeout"] = ["--timeout", "9"]

SPIED = {
    "experiments.runner.run": run,
    "experiments.search.sampled.run": lambda search, *a, **k: SearchResult(search, ROWS[0], tuple(ROWS), (1,)),
    "experiments.publish.write": lambda *a, **k: (REPORT, []),
    "experiments.publish.combined": lambda *a, **k: Store(),
    "experiments.publish.table_rows": lambda *a, **k: [*REPORT, {**REPORT[1], "model": "c"}],
    "experiments.publish.trained": lambda *a, **k: [],
    "experiments.publish.claims": lambda *a, **k: [CLAIM],
    "metrics.size.counted": lambda *a, **k: None,
    "report.figures.style.save": lambda *a, **k: None,
    "report.render.emit": lambda *a, **k: None,
    "execution.ending.set_time_limit": lambda *a: None,
    "execution.pools.Parallel.pool": lambda *a, **k: nullcontext(None),
}
"""What is replaced, each by a function that returns at once what the command goes on with."""


@pytest.fixture(autouse=True, scope="module")
def _imported():
    """Import every module first: one that is imported meanwhile would keep what is replaced, for all later tests."""
    for found in pkgutil.walk_packages(scsc_lab.__path__, "scsc_lab."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)


def made_up(experiment):
    """Return a result of an experiment with rows that were made up."""
    arms = tuple(arm.row() for arm in experiment.arms)
    metric = experiment.measures[0].metric
    rows = tuple({**row, "runs": [{**RUN, "model": row["model"]}]} for row in ROWS)
    labels = [{"model": arm["label"], "baseline": arms[arm["baseline"] or 0]["label"]} for arm in arms]
    further = ()
    if experiment.kind == "sweep":
        rows = tuple({**ROW, **names, "variant": arm["variant"]} for names, arm in zip(labels, arms, strict=True))
    elif experiment.kind == "tuning":
        rows = tuple({**rows[0], "model": arm["label"], "variant": arm["variant"]} for arm in arms)
    elif experiment.columns == ("latency",):
        rows = tuple({**ROW, **names, "timings": [TIMED]} for names in labels)
    elif experiment.columns == ("erf",):
        rows = tuple(
            {**ROW, **field("net").row(), **names, "map_file": "field.npz", "initialisations": 1} for names in labels
        )
    elif metric == "size" and experiment.kind == "comparison":
        rows = tuple({**ROW, **COUNTED, **names} for names in labels)
    elif metric in ("evaluation", "export"):
        rows = tuple({**ROW, **names} for names in labels)
        further = tuple({**JUDGED, **FILE, **names} for names in labels)
    return Result(experiment.row(), arms, rows, further)


def plain(value):
    """Return what tells two values apart, as plain data."""
    if isinstance(value, RunInfo):
        return value.device, value.seed
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return type(value).__name__, [(one.name, plain(getattr(value, one.name))) for one in dataclasses.fields(value)]
    if isinstance(value, dict):
        return [(key, plain(one)) for key, one in value.items()]
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, Store):
        return str(value.path)
    if hasattr(value, "get_size_inches"):
        axes = [(len(one.get_children()), one.get_title(), one.get_title("left")) for one in value.axes]
        return [*value.get_size_inches(), value.get_suptitle(), axes]
    return repr(value) if isinstance(value, (str, int, float, Path, type(None))) else str(type(value))


@functools.cache
def files():
    """Return the content of all files that options name, by name."""
    maps, image, weights = Path("maps.npz"), io.BytesIO(), io.BytesIO()
    mapfile.save([field("net")], maps)
    Image.new("RGB", (8, 8)).save(image, "png")
    exec(NETWORK, space := {})
    torch.save(space["Net"]().state_dict(), weights)
    texts = {"net.py": NETWORK, "own.csv": "model,metric,value\nnet.py:Net,score,1\n", "runs.jsonl": ""}
    texts |= {"grid.toml": "[grid]\nwidth = [6]\n", "other.toml": "[grid]\nwidth = [4]\n"}
    texts |= {"old.jsonl": ""}
    binary = {"maps.npz": maps.read_bytes(), "image.png": image.getvalue(), "weights.pth": weights.getvalue()}
    return {name: text.encode() for name, text in texts.items()} | binary


@pytest.fixture
def outcome(tmp_path, monkeypatch, capsys):
    """Return a function that runs a command and returns all that its options can change."""
    calls = []
    for name, function in SPIED.items():

        def spy(*given, name=name, function=function, **named):
            calls.append((name, plain(given), plain(named)))
            return function(*given, **named)

        monkeypatch.setattr(f"scsc_lab.{name}", spy)

    def run(words):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        monkeypatch.chdir(folder)
        for name, content in files().items():
            Path(name).write_bytes(content)
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        calls.clear()
        try:
            code = app(words, standalone_mode=False)
        except InputError as error:
            code = str(error)
        written = {str(path.relative_to(folder)) for path in folder.rglob("*") if path not in before} - {"rows.jsonl"}
        captured = capsys.readouterr()
        return code, captured.out, captured.err, list(calls), sorted(written)

    return run


def words_of(command):
    found = {max(parameter.opts, key=len) for parameter in COMMANDS[command].params if parameter.opts[0][0] == "-"}
    return sorted(found - {"--help"})


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_option_acts(command, outcome):
    assert words_of(command) == sorted(OPTIONS[command]), "an option is new or gone: say how it is used"
    idle, base = [], {}
    for option, use in OPTIONS[command].items():
        if use is None:
            continue
        context, own = use if isinstance(use, tuple) else ([], use)
        start = [command, *([] if option == "--from" else BASE[command]), *context]
        if tuple(start) not in base and option != "--from":
            base[tuple(start)] = outcome(start)
        if outcome([*start, *own]) == base.get(tuple(start)):
            idle.append(option)
    assert not idle


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["report", "--from", "old.jsonl", "--seeds", "3"], "--from measures nothing: leave --seeds out"),
        (["report", "--from", "old.jsonl", "--with", "params"], "leave --with out"),
        (["report", "--from", "old.jsonl", "--jobs", "2"], "leave --jobs out"),
        (["report", "net.py:Net", "--from", "old.jsonl"], "leave the models out"),
        (["report", "--pico", "--data", "faces"], "--pico trains networks of its own: leave --data out"),
        (["report", "--pico", "--with", "erf"], "leave --with out"),
        (["report", "--pico", "--quick"], "leave --quick out"),
        (["report", "net.py:Net", "--probe", "old.jsonl"], "--probe goes with the paper's claims"),
        (["report", "net.py:Net", "--write-weights", "w"], "--write-weights goes with --pico"),
        (["report", "net.py:Net", "--with", "params", "--seeds", "3"], "it goes with erf or accuracy"),
        (["report", "net.py:Net", "--data", "faces"], "it goes with accuracy"),
        (["compare", "net.py:Net", "--with", "params", "--recipe", "cifar"], "it goes with accuracy"),
        (["compare", "net.py:Net", "--with", "params", "--samples", "3"], "it goes with erf"),
        (["compare", "net.py:Net", "--with", "erf", "--runtime", "compile"], "it goes with latency"),
        (["compare", *TWO, "--by", "stage", "--store", "rows.db"], "leave --store out"),
        (["ablate", "net.py:Net", "--grid", "width=4", "--max-time", "3"], "it goes with latency"),
        (["ablate", "net.py:Net", "--no-draw", "--figures", "f"], "leave --figures out"),
        (["evaluate", "net.py:Net", "--far", "0.1"], "leave --far out"),
        (["train", "net.py:Net", "--weights-format", ".pth"], "leave --weights-format out"),
        (["train", *TWO, "--self-test"], "a self-test trains one network against itself; 2 are named"),
        (["train", "net.py:Net", "--split", "0.2"], "split is for images that are read"),
        (["evaluate", "net.py:Net", "--skip-unreadable"], "is for images that are read"),
        (["train", "net.py:Net", "--budgets", "1,2", "--recipe-set", "epochs=3"], "leave --recipe-set epochs out"),
        (["sweep", "net.py:Net", "--over", "threads=1,2", "--with", "params"], "threads changes nothing of params"),
        (["compare", *TWO, "--with", "params", "--threads", "2"], "it goes with latency"),
        (["latency", "net.py:Net", "--delta", "3"], "no times are compared: leave --delta out"),
        (["ablate", "net.py:Net", "--grid", "width=4", "--with", "macs", "--seed", "2"], "it goes with latency"),
        (["train", "net.py:Net", "--tune-seeds", "3"], "--tune-seeds goes with --tune"),
        (["train", "net.py:Net", "--tune-epochs", "3"], "--tune-epochs goes with --tune"),
        (["train", "net.py:Net", "--max-seeds", "30"], "--max-seeds goes with --until"),
        (["train", "net.py:Net", "--plot-budgets", "b.png"], "--plot-budgets needs --budgets"),
    ],
)
def test_an_option_that_cannot_act_is_refused(words, message, outcome):
    code, _, _, calls, written = outcome(words)
    assert message in str(code)
    assert not [name for name, *_ in calls if name != "execution.ending.set_time_limit"]
    assert not written


def test_the_seeds_and_the_recipe_of_the_pico_pairs_are_the_users(monkeypatch, outcome):
    asked = []
    monkeypatch.setattr("scsc_lab.experiments.probe.run", lambda settings, *_: asked.append(settings) or [])
    for words in ([], ["--seeds", "3"], ["--seed", "2", "--recipe-set", "lr=1", "--recipe", "cifar"]):
        assert outcome(["report", "--pico", *words])[0] == 0
    assert [settings.training.seeds for settings in asked] == [None, 3, None]
    assert asked[2].execution.seed == 2
    assert (asked[2].training.recipe, dict(asked[2].training.recipe_set)) == ("cifar", {"lr": "1"})
