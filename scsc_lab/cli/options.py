"""What commands share: the options' types and texts, and the reading of sizes and budgets."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated

import typer

from scsc_lab import runtimes, settings
from scsc_lab.architectures import catalog, overrides
from scsc_lab.architectures.network import Network
from scsc_lab.errors import InputError, nearest
from scsc_lab.settings import Drawing, texts
from scsc_lab.training.plan import plan
from scsc_lab.training.recipes import RECIPES

DEVICES = ("auto", "cpu", "cuda", "mps")
"""Devices that something can be measured on."""

PANELS = ("maps", "profiles", "both")
"""What of receptive fields a figure may show."""

_LARGEST_SIDE = 16384
_LARGEST_BATCH = 65536
_FEW = 1000
"""Budgets below which a letter has been forgotten."""

_MULTIPLES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def complete_model(incomplete: str) -> list[str]:
    """Return the names that a word may become, for the shell."""
    return [name for name in catalog.CATALOG if name.startswith(incomplete.lower().replace("-", "_"))]


Models = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[MODEL]...",
        help="Networks: names of the catalog (`scsc-lab models`), timm:NAME, torchvision:NAME, FILE.py:FACTORY or "
        "MODULE:FACTORY (runs that code); each also as 'NAME[key=value ...]'.",
        autocompletion=complete_model,
        show_default=False,
    ),
]
MoreModels = Annotated[
    list[str] | None,
    typer.Option("--model", "-m", help="The same, as an option; repeatable.", autocompletion=complete_model),
]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change the network, e.g. kernels=3,5,7, stage1.kernels=3,9,13, shuffle=false; repeatable.",
    ),
]
Weights = Annotated[
    list[str] | None,
    typer.Option("--weights", metavar="FILE", help="Checkpoint to load; NAME=FILE where there are several networks."),
]
Resolution = Annotated[
    str | None,
    typer.Option("--resolution", metavar="H[xW]", help="Input size in pixels, 224 or 224x320. Default: native."),
]
Channels = Annotated[
    str | None,
    typer.Option("--channels", metavar="N", help="Input channels of a network from elsewhere. Default: its own, or 3."),
]
Transplant = Annotated[
    bool, typer.Option("--transplant", help="Also with SCSC in place of the network's spatial operators.")
]
Rules = Annotated[
    list[str] | None,
    typer.Option(
        "--rule",
        metavar="KEY=VALUE",
        help="Rule of the transplant, e.g. replace=depthwise, names=stages.0.*, stages=1,2, kernels=3,9; repeatable.",
    ),
]
Mixers = Annotated[
    list[str] | None,
    typer.Option(
        "--mixer",
        metavar="NAME",
        help="The same with another spatial mixer than SCSC, or with FILE.py:CLASS; repeatable.",
    ),
]
Labels = Annotated[
    list[str] | None,
    typer.Option("--label", metavar="LABEL=MODEL", help="What tables and figures call a network; repeatable."),
]
Batch = Annotated[str, typer.Option("--batch", metavar="N", help="Images in one forward pass.")]
Device = Annotated[str, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:N or mps.")]
BatchSizes = Annotated[str, typer.Option("--batch-sizes", metavar="N,N", help="Images in one pass; several: 1,8,32.")]
Dtype = Annotated[
    str, typer.Option("--dtype", metavar="NAME", help=f"Weights and input: {', '.join(settings.DTYPES)}.")
]
MemoryFormat = Annotated[
    str, typer.Option("--memory-format", metavar="NAME", help=f"{', '.join(settings.MEMORY_FORMATS)}: the faster one.")
]
Threads = Annotated[str, typer.Option("--threads", metavar="N", help="Threads of an operator on the CPU.")]
Runtime = Annotated[
    str,
    typer.Option(
        "--runtime",
        metavar="NAME,NAME",
        help=f"What networks are timed in, side by side: some of {', '.join(runtimes.registry())}.",
    ),
]
Compile = Annotated[bool, typer.Option("--compile", help="The same as --runtime compile.")]
Train = Annotated[bool, typer.Option("--train", help="Forward and backward, in training mode.")]
Deploy = Annotated[
    bool, typer.Option("--deploy", help="Also in the deploy form, fused for inference, of each network that has one.")
]
Pairs = Annotated[str, typer.Option("--pairs", metavar="N", help="Rounds wanted, each with every network once.")]
MinTime = Annotated[
    str | None,
    typer.Option("--min-time", metavar="SECONDS", help="Measure a batch size at least this long. Default: 2."),
]
MaxTime = Annotated[
    str | None, typer.Option("--max-time", metavar="SECONDS", help="Measure a batch size no longer. Default: 35.")
]
Delta = Annotated[str, typer.Option("--delta", metavar="PERCENT", help="Difference in time that counts as none.")]
SelfTest = Annotated[bool, typer.Option("--self-test", help="Each network against itself: this machine's noise.")]
FieldStage = Annotated[
    str | None,
    typer.Option("--stage", metavar="NAME", help="Stage of receptive fields, by name or number. Default: the last."),
]
Data = Annotated[str, typer.Option("--data", metavar="NAME", help="navon, faces, imagefolder:DIR or hf:NAME_OR_PATH.")]
Recipe = Annotated[str, typer.Option("--recipe", metavar="NAME", help=f"How to train: {', '.join(RECIPES)}.")]
RecipeSet = Annotated[
    list[str] | None,
    typer.Option("--recipe-set", metavar="KEY=VALUE", help="Change the recipe, e.g. lr=1e-3; repeatable."),
]
Seeds = Annotated[
    str | None,
    typer.Option(
        "--seeds", metavar="N", help="Training runs of each network (default: 10), initialisations of each field (3)."
    ),
]
Probe = Annotated[
    Path | None,
    typer.Option(
        "--probe", metavar="ROWS.jsonl", help="Rows of trained pico networks, shown beside the claims about accuracy."
    ),
]
Store = Annotated[
    Path | None,
    typer.Option("--store", metavar="FILE", help="Keep rows in this JSON-lines file; skip those it has."),
]
Jobs = Annotated[str, typer.Option("--jobs", metavar="N", help="Processes that count, and train, side by side.")]
Executor = Annotated[
    str, typer.Option("--executor", metavar="ADDRESS", help="local, or a Dask scheduler, tcp://host:8786.")
]
Seed = Annotated[str, typer.Option("--seed", metavar="N", help="Seed of everything drawn at random.")]
Baseline = Annotated[
    str | None,
    typer.Option("--baseline", metavar="NAME", help="Network the others are compared with. Default: the first."),
]
Width = Annotated[
    str | None,
    typer.Option("--width", metavar="WIDTH", help="Of figures: column (3.3 in), page (6.9 in), or such as 84mm."),
]
NoTitles = Annotated[bool, typer.Option("--no-titles", help="Figures without what a caption may say.")]
Panels = Annotated[str, typer.Option("--panels", metavar="WHAT", help="Of receptive fields: maps, profiles or both.")]
Format = Annotated[
    str | None,
    typer.Option("--format", metavar="NAME", help="table, markdown, csv, json or latex. Default: table."),
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="Write to a file; its suffix chooses the format."),
]


def figures(width: str | None, no_titles: bool, panels: str = "both") -> Drawing:
    """Return how figures are wanted, checked before anything is measured.

    Raises:
        InputError: if the width or the panels are wrong.
    """
    choice("--panels", panels, PANELS)
    return Drawing(None if width is None else texts.width(width), not no_titles, panels)


def training(data: str, recipe: str, recipe_set: list[str] | None) -> tuple[tuple[str, str], ...]:
    """Return what was said about training, as a request has it, checked.

    Raises:
        InputError: if the recipe, or a key or value of it, is wrong.
    """
    changes = overrides.parse(recipe_set or [], "--recipe-set")
    plan({"data": data, "recipe": recipe}, changes)
    return (("data", data), ("recipe", recipe), *((f"recipe.{key}", value) for key, value in changes.items()))


def fields(stage: str | None, seeds: str | None) -> tuple[tuple[str, str], ...]:
    """Return what was said about receptive fields, as a request has it, checked.

    Raises:
        InputError: if the number of initialisations is none.
    """
    drawn = None if seeds is None else str(whole("--seeds", seeds, 1000))
    return tuple((key, value) for key, value in (("stage", stage), ("initialisations", drawn)) if value)


def names(models: list[str] | None, more: list[str] | None) -> list[str]:
    """Return the models named as arguments and as options.

    Raises:
        InputError: if there are none.
    """
    found = [*(models or []), *(more or [])]
    if not found:
        raise InputError("name at least one model, e.g. resnet50; `scsc-lab models` lists them")
    for name in found:
        Network.read(name)  # so that a mistyped name is answered at once, before torch is imported
    return found


def resolution(text: str | None) -> tuple[int, int] | None:
    """Return height and width of ``224`` or ``224x320``.

    Raises:
        InputError: if it is not a size, or one out of bounds.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,12})(?:[x×](\d{1,12}))?", text.strip().lower())
    if match is None:
        raise InputError(f"--resolution {text!r}: write a side or HEIGHTxWIDTH in pixels, e.g. 224 or 224x320")
    sides = (int(match[1]), int(match[2] or match[1]))
    for side in sides:
        if not 1 <= side <= _LARGEST_SIDE:
            raise InputError(f"--resolution {text}: sides go from 1 to {_LARGEST_SIDE} pixels")
    return sides


def whole(option: str, text: str, largest: int = _LARGEST_BATCH) -> int:
    """Return a whole number from 1 up.

    Raises:
        InputError: if it is not one.
    """
    value = _value(text)
    if not value.is_integer() or not 1 <= value <= largest:
        raise InputError(f"{option} {text!r}: a whole number from 1 to {largest}")
    return int(value)


def batch_sizes(text: str) -> tuple[int, ...]:
    """Return the whole numbers of ``1,8,32``, each once.

    Raises:
        InputError: if one is none, or there are none.
    """
    parts = [part for part in text.split(",") if part.strip()]
    if not parts:
        raise InputError("--batch-sizes names none: numbers with commas between, e.g. 1,8,32")
    return tuple(dict.fromkeys(whole("--batch-sizes", part) for part in parts))


def number(option: str, text: str, largest: float = 1e6) -> float:
    """Return a number from 0 up, of ``0.01`` or ``1e-2``.

    Raises:
        InputError: if it is not one.
    """
    if not _value(text) <= largest:
        raise InputError(f"{option} {text!r}: a number from 0 to {largest:g}")
    return _value(text)


def _value(text: str) -> float:
    """Return the number that ``1000``, ``.5`` or ``1e-2`` says; not-a-number for anything else."""
    match = re.fullmatch(r"(\d{1,12}(\.\d{0,12})?|\.\d{1,12})(e[+-]?\d{1,2})?", text.strip().lower(), re.ASCII)
    return float(match[0]) if match else math.nan


def share(option: str, text: str) -> float:
    """Return a share of a whole, e.g. 0.2.

    Raises:
        InputError: if it is not above 0 and below 1.
    """
    found = number(option, text)
    if not 0 < found < 1:
        raise InputError(f"{option} {text}: a share above 0 and below 1, e.g. 0.2")
    return found


def seed(text: str) -> int:
    """Return a seed: a whole number from 0 up.

    Raises:
        InputError: if it is not one.
    """
    value = _value(text)
    if not value.is_integer() or value > 999_999_999:
        raise InputError(f"--seed {text!r}: a whole number from 0 to 999999999")
    return int(value)


def device(text: str) -> str:
    """Return the name of a device, spelled as torch spells it; whether it is there is asked where it is used.

    Raises:
        InputError: if no device has such a name.
    """
    name = text.strip().lower()
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", name):
        raise InputError(f"--device {text!r}: one of auto, cpu, cuda, cuda:N, mps{nearest(name, DEVICES)}")
    return name


def budget(option: str, text: str | None) -> int | None:
    """Return a number such as ``4.5G`` or ``30M``.

    Raises:
        InputError: if it is not one.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,20}(?:\.\d{0,20})?|\.\d{1,20})(?:E([+-]?\d{1,2})|\s*([KMGT]))?", text.strip().upper())
    if match is None:
        raise InputError(f"{option} {text!r}: a number, with K, M, G or T behind it if you like, e.g. 4.5G")
    number = float(match[1])
    if not (match[2] or match[3]) and 0 < number < _FEW:
        raise InputError(f"{option} {text}: is {text}G meant, or {text}M? With nothing behind it counts single ones")
    return round(number * 10.0 ** int(match[2] or 0) * _MULTIPLES[match[3] or ""])


def runtime_names(text: str, compile: bool = False) -> tuple[str, ...]:
    """Return the runtimes of ``torch,onnxruntime``, each once; ``--compile`` is one of them too.

    Raises:
        InputError: if one does not exist or is not installed, or there are none.
    """
    if compile and text not in (runtimes.USUAL, "compile"):
        raise InputError("--compile is --runtime compile: name it there, beside the others")
    names = ["compile"] if compile else [word.strip() for word in text.split(",") if word.strip()]
    if not names:
        raise InputError(f"--runtime names nothing: some of {', '.join(runtimes.registry())}")
    return tuple(runtimes.find(name).name for name in dict.fromkeys(names))


def choice(option: str, text: str | None, choices: tuple[str, ...]) -> str | None:
    """Return one of a few words.

    Raises:
        InputError: if it is another.
    """
    if text is not None and text not in choices:
        raise InputError(f"{option} {text!r}: one of {', '.join(choices)}{nearest(text, choices)}")
    return text


def several(option: str, text: str, choices: tuple[str, ...]) -> list[str]:
    """Return some of a few words, set apart by commas.

    Raises:
        InputError: if one is another, or there are none.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words:
        raise InputError(f"{option} names nothing: some of {', '.join(choices)}")
    for word in words:
        choice(option, word, choices)
    return list(dict.fromkeys(words))
