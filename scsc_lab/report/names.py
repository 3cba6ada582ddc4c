"""What a report calls its networks: their module and backbone, numbers in place of long settings, one hue each."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from scsc_lab import units
from scsc_lab.records import Row
from scsc_lab.report import tables
from scsc_lab.report.tables import Column, Table
from scsc_lab.units import one_line, without_folders

MOST_LABELS = 6
"""Names in one picture; what has none is drawn lightly."""

LONGEST = 40
"""Characters of a network's name that a figure has room for, settings included; a report numbers longer ones."""

_ADDED = re.compile(r" \+ (\w+)")
_SETTINGS = re.compile(r"\[[^\]]*\]")
_LABELS = ("model", "baseline", "ordinary")
"""Keys of a row that hold the name of a network."""


def module(row: Row) -> str:
    """Return the module that a network has in place of its own: ``SCSC``, a mixer's name, or nothing."""
    text = str(row.get("network") or row["model"])
    added = _ADDED.search(text) or _ADDED.search(str(row["model"]))
    return "SCSC" if text.startswith("scsc_") else added[1] if added else ""


def added_module(row: Row) -> str:
    """Return the module that a network has and its baseline has not, or nothing."""
    name = module(row)
    return "" if name == module({"model": str(row.get("baseline"))}) else name


def original(row: Row) -> str:
    """Return the name of the network that another was made of: without a module put in, settings, or a deploy form."""
    text = str(row.get("network") or row["model"]).partition(" + ")[0].partition("[")[0]
    return text.partition(" (")[0].partition(" no. ")[0].removeprefix("scsc_")


def is_made_of(row: Row, baseline: Row) -> bool:
    """Return whether a network is another one that was changed: has a module put in, or other settings."""
    return row is not baseline and original(row) == original(baseline)


def compared(rows: Sequence[Row]) -> list[Row]:
    """Return the networks that have another one as their baseline."""
    return [row for row in rows if row.get("baseline") not in (None, row["model"])]


def is_baseline(row: Row) -> bool:
    """Return whether a picture shows a network as a baseline, hollow or dashed: it is one, or has no module put in."""
    return row["model"] == row.get("baseline") or not module(row)


def effect(row: Row) -> float:
    """Return how large a pair's effect on time is, whichever way it goes."""
    return abs(math.log(row["ratio"])) if row.get("ratio") else 0.0


def labelled(rows: Sequence[Row]) -> list[int]:
    """Return which rows a picture names, at most six.

    Baselines of networks with SCSC come first, then these, then the largest differences of accuracy and of time.
    """
    with_scsc = [row for row in rows if module(row) == "SCSC"]
    baselines = {str(row.get("baseline")) for row in with_scsc}

    def rank(at: int) -> tuple[bool, bool, float, float]:
        row = rows[at]
        is_first = str(row["model"]) in baselines
        is_second = module(row) == "SCSC"
        return not is_first, not is_second, -abs(row.get("accuracy_difference") or 0.0), -effect(row)

    return sorted(sorted(range(len(rows)), key=rank)[:MOST_LABELS])


def hues(rows: Sequence[Row]) -> list[int]:
    """Return the number of each row's hue: one per backbone, the same in all pictures of a report."""
    backbones = list(dict.fromkeys(map(original, rows)))
    return [backbones.index(original(row)) if row.get("hue") is None else int(row["hue"]) for row in rows]


def task(row: Row) -> str:
    """Return what networks share that may stand on one scale: their input's size, and the data they were trained on."""
    data = dict.fromkeys(str(run["data"]) for run in row.get("runs") or ())
    return ", ".join((units.size(row["resolution"]), *data))


def precision(row: Row) -> str:
    """Return the type of a timing, and what torch computes less precisely: ``float32 (convolutions in TF32)``."""
    less = (row.get("runtime_details") or {}).get("float32")
    return f"{row['dtype']} ({less})" if less else str(row["dtype"])


def numbered(rows: Sequence[Row]) -> tuple[list[Row], Table | None]:
    """Return a report's rows with short names and hues, and the table of the numbers that replace long settings.

    ``net[stage1.kernels=3 …]`` becomes ``net no. 1``: names that a picture had to cut would read alike.
    """
    listed = [row for row in rows if row.get("variant") in (None, "full")]
    labels = list(dict.fromkeys(str(row[key]) for row in listed for key in _LABELS if row.get(key)))
    names, long = without_folders(labels), list[Row]()
    for label in labels:
        stem = _SETTINGS.sub("", names[label])
        if len(names[label]) > LONGEST and stem != names[label]:
            number = sum(entry["stem"] == stem for entry in long) + 1
            long.append({"model": f"{stem} no. {number}", "network": names[label], "stem": stem})
            names[label] = long[-1]["model"]
    backbones = list(dict.fromkeys(original(row) for row in listed if row["table"] == "comparison"))
    renamed = [_renamed(row, names, backbones) for row in rows]
    columns = (tables.MODEL, Column("network", "network", number=False))
    return renamed, Table(columns, tuple(long)) if long else None


def _renamed(row: Row, names: dict[str, str], backbones: list[str]) -> Row:
    changed: dict[str, Any] = {key: names.get(row[key], row[key]) for key in _LABELS if isinstance(row.get(key), str)}
    if "model" in row and original(row) in backbones:
        changed["hue"] = backbones.index(original(row))
    if row.get("runs"):
        changed["runs"] = [_renamed(run, names, []) for run in row["runs"]]
    return {**row, **changed}


def shortened(text: object, longest: int = LONGEST) -> str:
    """Return a name as a figure has it: one line, its middle left out where it is too long."""
    line = one_line(str(text))
    return line if len(line) <= longest else f"{line[: (longest - 1) * 2 // 3]}…{line[-(longest - 1) // 3 :]}"


def shortened_apart(texts: Iterable[object], longest: int = LONGEST) -> dict[str, str]:
    """Return names as a figure has them, by the whole ones; cut ones that would read alike show where they differ."""
    lines = {str(text): one_line(str(text)) for text in texts}
    cut = {line: shortened(line, longest) for line in lines.values()}
    for text, number in Counter(cut.values()).items():
        alike = [line for line in cut if cut[line] == text]
        if number == 1:
            continue
        words = [re.split(r"(?<=[\[\], /])" if "=" in line else r"(?<=[\[\], /.])", line) for line in alike]
        start = _alike(words)
        end = min(_alike([line[::-1] for line in words]), min(map(len, words)) - start)
        parts = ["".join(line[start : len(line) - end]).strip(" []").rstrip(".") for line in words]
        short = [
            f"{line[: longest // 3]}…{shortened(part, longest * 2 // 3 - 2)}"
            for line, part in zip(alike, parts, strict=True)
        ]
        if len(set(short)) < number:
            short = [f"{shortened(line, longest - 5)} ({at})" for at, line in enumerate(alike, start=1)]
        cut.update(zip(alike, short, strict=True))
    return {text: cut[line] for text, line in lines.items()}


def _alike(sequences: Sequence[Sequence[str]]) -> int:
    """Return how many first items sequences share."""
    return sum(1 for _ in itertools.takewhile(lambda items: len(set(items)) == 1, zip(*sequences, strict=False)))
