"""``--class-map``: which output of a larger head belongs to each class of the data."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from scsc_lab import files
from scsc_lab.errors import InputError
from scsc_lab.training.data import Data, Task


def read(path: Path) -> dict[str, int]:
    """Return the number of the output of each class, counted from 0.

    The file is a CSV of names and numbers; or JSON, an object of numbers by name, or one of names (or of lists whose
    members are names of one class, as of ImageNet's ``class_index.json``) by number.

    Raises:
        InputError: if the file cannot be read, is neither, or names a class twice.
    """
    text = files.read_text(path, "utf-8-sig")
    try:
        entries = _of_json(json.loads(text)) if path.suffix.lower() == ".json" else _of_csv(text)
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise InputError(f"{path} is not a class map: lines of a class and a number, such as n01440764,0") from None
    numbers: dict[str, int] = {}
    for name, number in entries:
        if numbers.setdefault(name, number) != number:
            raise InputError(f"{path}: {name} has two outputs, {numbers[name]} and {number}")
    return numbers


def _of_csv(text: str) -> list[tuple[str, int]]:
    rows = [row for row in csv.reader(text.splitlines()) if row]
    if rows and not rows[0][-1].strip().isdigit():
        del rows[0]  # the heading
    return [(name.strip(), int(number)) for name, number in rows]


def _of_json(content: dict[str, object]) -> list[tuple[str, int]]:
    entries: list[tuple[str, int]] = []
    for key, value in content.items():
        if isinstance(value, int):
            entries.append((key, value))
        else:
            entries += [(str(name), int(key)) for name in (value if isinstance(value, list) else [value])]
    return entries


def listed(classes: Sequence[str]) -> str:
    """Return the first names of classes."""
    return f"{', '.join(classes[:3])}{' …' if len(classes) > 3 else ''}"


def apply(data: Data, class_map: Mapping[str, int], outputs: int) -> Data:
    """Return data whose classes are the outputs of a head; an output without a class has its number as its name.

    Raises:
        InputError: if a class has no output of this head.
    """
    if len(data.tasks) > 1:
        raise InputError(f"--class-map is for data of one task; {data.name} has {len(data.tasks)}")
    classes = data.tasks[0].classes
    if missing := [name for name in classes if name not in class_map]:
        raise InputError(f"--class-map has no output for {listed(missing)} of {data.name}")
    if outside := [name for name in classes if not 0 <= class_map[name] < outputs]:
        raise InputError(
            f"--class-map: output {class_map[outside[0]]} of {outside[0]} is outside 0 to {outputs - 1} of the network"
        )
    names = [str(number) for number in range(outputs)]
    numbers = np.array([class_map[name] for name in classes])
    for name, number in zip(classes, numbers, strict=True):
        names[number] = name
    test: Any = data.test  # every split is a dataclass with labels
    note = f"{len(classes)} of the head's {outputs:,} outputs are classes of the data; predictions of others are wrong"
    relabelled = replace(test, labels=numbers[test.labels])
    return replace(data, tasks=(Task("", tuple(names)),), test=relabelled, notes=(*data.notes, note))
