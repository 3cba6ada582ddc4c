"""``csv:FILE``: image files with their labels, and perhaps their splits, in a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from scsc_lab import files
from scsc_lab.errors import InputError
from scsc_lab.training.data import Data
from scsc_lab.training.data.folders import Files
from scsc_lab.training.data.reading import TESTS, Contents, Part, Request, assemble, class_names, numbered

_IMAGES = ("image", "path", "file", "filename", "file_name")
_LABELS = ("label", "class", "target", "identity")
_SPLIT = "split"
_MISSING = ("", "nan", "null", "<na>")
"""Texts of a row without a label, as other programs write it."""


def load(where: str, request: Request) -> Data:
    """Return the images that a CSV file lists, relative to its folder; labels are texts or whole numbers from 0.

    A column ``split`` with the words ``train`` and ``val``, ``validation`` or ``test`` divides them. The classes are
    those of the training images, if there are any.

    Raises:
        InputError: if the file, a column or a label is missing, or images cannot be read.
    """
    path = Path(where)
    table = csv.DictReader(io.StringIO(files.read_text(path, "utf-8-sig")))
    try:
        rows, columns = list(table), list(table.fieldnames or ())
    except csv.Error as error:
        raise InputError(f"csv:{where} is no CSV file: {error}") from None
    image = _column(columns, request.image_column, _IMAGES, "--image-column", where)
    label = _column(columns, request.label_column, _LABELS, "--label-column", where)
    if not rows:
        raise InputError(f"csv:{where} has no rows")
    incomplete = [number for number, row in enumerate(rows) if not row[image]]
    if incomplete:
        raise InputError(f"csv:{where}: {len(incomplete)} rows have no image, the first is row {incomplete[0]}")
    split_names = {str(row[_SPLIT]) for row in rows} if _SPLIT in columns else {"train"}
    if unknown := sorted(split_names - {"train", *TESTS}):
        raise InputError(f"csv:{where}: {unknown[0]!r} in the column {_SPLIT}: one of train, {', '.join(TESTS)}")
    split_of = [row[_SPLIT] if _SPLIT in columns else "train" for row in rows]
    texts = [None if (row[label] or "").strip().lower() in _MISSING else row[label] for row in rows]
    is_numeric = all(map(_is_number, filter(None, texts)))  # of numbers only whole ones from 0 are classes
    labels = [int(text) if is_numeric and text and text.isascii() and text.isdigit() else text for text in texts]
    is_closed = "train" in split_of and not request.identities  # all classes are in the training images
    learned = [label for label, split in zip(labels, split_of, strict=True) if split == "train" or not is_closed]
    kind = int if is_numeric else str
    classes = class_names([label for label in learned if isinstance(label, kind)], f"csv:{where}")
    numbers = numbered(labels, classes, f"csv:{where}")
    splits = {}
    for split_name in sorted(split_names):
        chosen = [at for at, split in enumerate(split_of) if split == split_name]
        splits[split_name] = Part(Files(tuple(path.parent / rows[at][image] for at in chosen)), numbers[chosen])
    identity = "\n".join(f"{row[image]},{row[label]}" for row in rows)
    return assemble(f"csv:{where}", Contents(classes, splits, (), identity.encode()), request)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _column(columns: Sequence[str], requested: str, defaults: Sequence[str], option: str, where: str) -> str:
    name = requested or next((name for name in defaults if name in columns), "")
    if name not in columns:
        missing = f"no column {requested!r}" if requested else f"none of the columns {', '.join(defaults)}"
        raise InputError(f"csv:{where} has {missing}: name one of {', '.join(columns)} by {option}")
    return name
