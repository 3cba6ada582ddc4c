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
ALL = ["--with", "params,latency,erf,accuracy"]

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
USES = """
-m net.py:Net[width=2]; --set width=16; --label Ours=net.py:Net; --resolution 24; --channels 3; --transplant;
--mixer depthwise; --transplant | --rule kernels=3,5; --weights net.py:Net=weights.pth;
--weights net.py:Net=weights.pth | --resize-weights; --input 1x3x16x16; --format csv; -o out.csv;
--format latex | --caption Ours; --format latex | --tex-label tab:ours; --store rows.db; --batch 2; --deploy;
--baseline net.py:Net[width=4]; --pair net.py:Net[width=4]:net.py:Net; --by stage; --by module | --depth 1;
--train; --no-check; --max-macs 1K; --max-params 0; --convention flops; --dtype float64; --timeout 9; --streams 2;
--percentiles 95; --device cpu; --threads 2; --seed 3; --max-time 3; --runtime compile; --pairs 3; --delta 5;
--batch-sizes 2; --memory-format contiguous; --compile; --min-time 1; --warm-up 1; --resamples 3000; --precision 5;
--self-test; --plot plot.png; --plot plot.png | --width page; --plot plot.png | --no-titles; --stage 2; --layer 0;
--layout nchw; --images .; --samples 2; --method replknet; --contribution relu; --seeds 2; --save maps.npz;
| --from maps.npz; --table table.csv; --panels profiles; --dynamic-batch; -o net.onnx | --opset 18; --data faces;
--recipe cifar; --recipe-set lr=1; --jobs 2; --executor tcp://h:1; --executor-timeout 9; --budgets 1,2;
--tune lr=1e-3,1e-2; --tune lr=1e-3,1e-2 | --tune-epochs 3; --tune lr=1e-3,1e-2 | --tune-seeds 3; --with params;
--accuracy own.csv; --format latex | --bold-best; --plot params,latency | --figure c.png; --family swin;
--tolerance 100; --probe runs.jsonl; --transplant | --study components; --grid width=3; --vary width=3;
--config other.toml; --draw; --draw | --figures figures; --space width=3,4; --minimise params; --maximise macs;
--near macs=-22%; --budget latency<=5; --trials 8; --max-runs 9; --sampler tpe; --over width=2,4; --name mine;
--folder elsewhere; --quick; --against old.jsonl; --against old.jsonl | --fail-on worse; --html; --open; --mixers;
--data csv:images.csv | --image-column picture; --data csv:images.csv | --label-column kind; --task verification;
--epochs 2; --plan; --store rows.jsonl | --until 3; --store rows.jsonl --until 3 | --max-seeds 30;
--data faces --write-weights w | --difficulty; --budgets 2,4 | --plot-budgets budgets.png; --train-images 64;
--test-images 64; --batch-size 8; --data imagefolder:. | --split 0.3; --data imagefolder:. | --skip-unreadable;
--data imagefolder:. | --background white; --workers 2; --write-weights w | --weights-format .pth;
--curves curves.png; --by-class; --class-map missing.csv; --data faces | --flip; --data faces | --far 0.1;
--predictions p.csv
"""
"""How to use each option, behind the words of its context if it needs some."""

OWN_USES = {
    "flops": "--channels 4; --weights missing.pth",
    "erf": "--stage 1; --samples 3; -o field.pdf; --width page; --no-titles",
    "export": "-o other.pt2",
    "compare": "--plot params,latency; --plot params,latency | --width page; --plot params,latency | --no-titles",
    "ablate": "--draw | --width column; --draw | --no-titles",
    "search": "--store other.db; --weights weights.pth; --max-macs 3G; --max-params 3M; --study sqlite:///other.db; "
    "--figure front.png; --figure front.png | --width page; --figure front.png | --no-titles",
    "sweep": "--figures figures; --figures figures | --width page; --figures figures | --no-titles",
    "report": "--width page; --no-titles; --panels maps",
    "train": "--delta 2; --write-weights w",
    "evaluate": "--data faces | --pairs pairs.txt; --data faces | --plot missing/roc.txt",
}
"""How some commands use an option in another way."""

ELSEWHERE = {"compare": ["--by"], "report": ["--from", "--pico", "--probe", "--write-weights"]}
"""Options that a test of their own uses."""


def uses(command):
    """Return context and words of each option of a command, by its longest name; ``None`` for one without a use."""
    texts = filter(str.strip, f"{USES};{OWN_USES.get(command, '')}".split(";"))
    lines = [text.rpartition("|") for text in texts]
    by_word = {words.split()[0]: (context.split(), words.split()) for context, _, words in lines}
    options = {}
    for parameter in COMMANDS[command].params:
        name = max(parameter.opts, key=len)
        if name.startswith("-") and name != "--help" and name not in ELSEWHERE.get(command, ()):
            names = (*parameter.opts, *parameter.secondary_opts)
            options[name] = next((by_word[word] for word in names if word in by_word), None)
    return options


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


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_option_acts(command, outcome):
    idle, plainly = [], {}
    for option, use in uses(command).items():
        assert use, f"{option} is new: say how it is used"
        context, words = use
        start = [command, *([] if option == "--from" else BASE[command]), *context]
        if tuple(start) not in plainly and option != "--from":
            plainly[tuple(start)] = outcome(start)
        if outcome([*start, *words]) == plainly.get(tuple(start)):
            idle.append(option)
    assert not idle


def test_the_seeds_and_the_recipe_of_the_pico_pairs_are_the_users(monkeypatch, outcome):
    asked = []
    monkeypatch.setattr("scsc_lab.experiments.probe.run", lambda settings, *_: asked.append(settings) or [])
    for words in ([], ["--seeds", "3"], ["--seed", "2", "--recipe-set", "lr=1", "--recipe", "cifar"]):
        assert outcome(["report", "--pico", *words])[0] == 0
    assert [settings.training.seeds for settings in asked] == [None, 3, None]
    assert asked[2].execution.seed == 2
    assert (asked[2].training.recipe, dict(asked[2].training.recipe_set)) == ("cifar", {"lr": "1"})
