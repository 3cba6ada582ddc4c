"""``csv:FILE``: image files with their labels, and perhaps their splits, in a table."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from scsc_lab.errors import InputError
from scsc_lab.training.data import Data
from scsc_lab.training.data.folders import Files
from scsc_lab.training.data.reading import TESTS, Found, Part, Request, assemble, class_names, numbered

_IMAGES = ("image", "path", "file", "filename", "file_name")
_LABELS = ("label", "class", "target", "identity")
_SPLIT = "split"


def load(where: str, request: Request) -> Data:
    """Return the images that a CSV file lists, relative to its folder; labels are texts or whole numbers from 0.

    A column ``split`` with the words ``train`` and ``val``, ``validation`` or ``test`` divides them.

    Raises:
        InputError: if the file, a column or a label is missing, or images cannot be read.
    """
    path = Path(where)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            rows, columns = list(table), list(table.fieldnames or ())
    except OSError as error:
        raise InputError(f"csv:{where}: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"csv:{where} is no CSV file in UTF-8: {error}") from None
    image = _column(columns, request.image_column, _IMAGES, "--image-column", where)
    label = _column(columns, request.label_column, _LABELS, "--label-column", where)
    if not rows:
        raise InputError(f"csv:{where} has no rows")
    incomplete = [number for number, row in enumerate(rows) if not row[image]]
    if incomplete:
        raise InputError(f"csv:{where}: {len(incomplete)} rows have no image, the first is row {incomplete[0]}")
    words = {str(row[_SPLIT]) for row in rows} if _SPLIT in columns else {"train"}
    if unknown := sorted(words - {"train", *TESTS}):
        raise InputError(f"csv:{where}: {unknown[0]!r} in the column {_SPLIT}: one of train, {', '.join(TESTS)}")
    texts = [row[label] or "" for row in rows]
    values = [int(text) for text in texts] if all(text.isascii() and text.isdigit() for text in texts) else texts
    classes = class_names([value for value in values if value != ""], f"csv:{where}")
    numbers = numbered(values, classes, f"csv:{where}")
    files = Files(tuple(path.parent / row[image] for row in rows))
    splits = {}
    for word in sorted(words):
        chosen = [at for at, row in enumerate(rows) if row.get(_SPLIT, "train") == word or _SPLIT not in columns]
        splits[word] = Part(Files(tuple(files.paths[at] for at in chosen)), numbers[chosen])
    identity = "\n".join(f"{row[image]},{row[label]}" for row in rows)
    return assemble(f"csv:{where}", Found(classes, splits, (), identity.encode()), request)


def _column(columns: Sequence[str], wanted: str, usual: Sequence[str], option: str, where: str) -> str:
    name = wanted or next((name for name in usual if name in columns), "")
    if name not in columns:
        missing = f"no column {wanted!r}" if wanted else f"none of the columns {', '.join(usual)}"
        raise InputError(f"csv:{where} has {missing}: name one of {', '.join(columns)} by {option}")
    return name
