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
    members are names of one class, as of ImageNet's ``class_index.json``) by number. A name in lists of several outputs
    (``crane``, the bird and the machine) belongs to none.

    Raises:
        InputError: if the file cannot be read, is neither, or names a class twice.
    """
    text = files.read_text(path, "utf-8-sig")
    try:
        entries, synonyms = _of_json(json.loads(text)) if path.suffix.lower() == ".json" else (_of_csv(text), [])
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise InputError(f"{path} is not a class map: lines of a class and a number, such as n01440764,0") from None
    numbers: dict[str, int] = {}
    for name, number in entries:
        if numbers.setdefault(name, number) != number:
            raise InputError(f"{path}: {name} has two outputs, {numbers[name]} and {number}")
    outputs: dict[str, set[int]] = {}
    for name, number in synonyms:
        outputs.setdefault(name, set()).add(number)
    return {**{name: number for name, (number, *others) in outputs.items() if not others}, **numbers}


def _of_csv(text: str) -> list[tuple[str, int]]:
    rows = [row for row in csv.reader(text.splitlines()) if row]
    if rows and not rows[0][-1].strip().isdigit():
        del rows[0]  # the heading
    return [(name.strip(), int(number)) for name, number in rows]


def _of_json(content: dict[str, object]) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """Return classes with their outputs, and the names that stand in lists, which several outputs may share."""
    entries: list[tuple[str, int]] = []
    synonyms: list[tuple[str, int]] = []
    for key, value in content.items():
        if isinstance(value, list):
            synonyms += [(str(name), int(key)) for name in value]
        else:
            entries.append((key, value) if isinstance(value, int) else (str(value), int(key)))
    return entries, synonyms


def listed(classes: Sequence[str]) -> str:
    """Return the first names of classes."""
    return f"{', '.join(classes[:3])}{' …' if len(classes) > 3 else ''}"


def apply(data: Data, class_map: Mapping[str, int], outputs: int) -> Data:
    """Return data whose classes are the outputs of a head; an output without a class is called ``output 7``.

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
    numbers = np.array([class_map[name] for name in classes])
    names = [f"output {number}" for number in range(outputs)]
    for number in set(numbers.tolist()):
        names[number] = " / ".join(name for name in classes if class_map[name] == number)
    test: Any = data.test  # every split is a dataclass with labels
    note = f"{len(classes)} of the head's {outputs:,} outputs are classes of the data; predictions of others are wrong"
    relabelled = replace(test, labels=numbers[test.labels])
    return replace(data, tasks=(Task("", tuple(names)),), test=relabelled, notes=(*data.notes, note))
