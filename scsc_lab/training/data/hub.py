"""``hf:NAME_OR_PATH``: what Hugging Face ``datasets`` loads, local or from the hub; read image by image."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scsc_lab.errors import InputError, last_line
from scsc_lab.training.data import Data, Task, check_labels
from scsc_lab.training.data.choices import Indices, check_classes, chosen, divided
from scsc_lab.training.data.encoded import Source, decodable
from scsc_lab.training.draws import Purpose, generator

MOST_CLASSES = 100_000
"""Classes that labels without names may number; ImageNet-21k has 21,841."""

_TESTS = ("validation", "val", "valid", "test")


@dataclass(frozen=True)
class Rows:
    """The rows of a split, which stay where ``datasets`` keeps them, memory-mapped.

    Attributes:
        rows: the split, whose images are not decoded by ``datasets``.
        column: the column of images.
        name: the name of the split.
        folders: the folders that rows may name files of.
    """

    rows: Any
    column: str
    name: str
    folders: tuple[Path, ...]

    def source(self, index: int) -> Source:
        """Return the content of one image, or its file if that lies in a folder of the data.

        Raises:
            InputError: if the row has no image, or names a file elsewhere.
        """
        image, name = self.rows[index][self.column], f"row {index} of {self.name}"
        content, path = (image or {}).get("bytes"), (image or {}).get("path")
        if content:
            return content, name
        if not path:
            raise InputError(f"{name} has no image")
        for folder in self.folders:
            file = (folder / path).resolve()
            if file.is_relative_to(folder.resolve()) and file.is_file():
                return file, f"{name} ({path})"
        raise InputError(f"{name} names {path!r}, which is no file in {' or '.join(map(str, self.folders))}")


def load(
    where: str,
    seed: int,
    *,
    train_images: int = 0,
    test_images: int = 0,
    split: float = 0.0,
    skip_unreadable: bool = False,
) -> Data:
    """Return a data set of Hugging Face; see :func:`scsc_lab.training.data.registry.load` for the arguments.

    The image column is the first of type ``Image``, the label column the first ``ClassLabel``, else ``label``. Labels
    without names are whole numbers from 0, or texts; their classes are those of the training split.

    Raises:
        InputError: if ``datasets`` is missing or cannot load it, if splits or columns are missing, or a row has no
            label, no image or an image that cannot be decoded.
    """
    try:
        import datasets
    except ImportError:
        raise InputError("hf: needs datasets: pip install 'scsc-lab[datasets]'") from None
    try:
        splits = _opened(datasets, where)
    except Exception as error:  # whatever a loader or the network raises
        raise InputError(f"hf:{where} cannot be loaded: {last_line(error)}") from None
    if "train" not in splits:
        raise InputError(f"hf:{where} has no split train (it has {', '.join(splits)})")
    random = generator(seed, Purpose.SPLIT)
    train, classes, labels = _columns(datasets, splits, "train", where)
    check_classes(classes, f"hf:{where}")
    if split:
        indices, test_indices = divided(labels, split, random)
        parts = [(train, labels, indices), (train, labels, test_indices)]
    else:
        test = next((name for name in _TESTS if name in splits), None)
        if test is None:
            raise InputError(f"hf:{where} has no split {' or '.join(_TESTS)}: divide train with --split 0.2")
        rows, _, test_labels = _columns(datasets, splits, test, where, classes)
        parts = [(train, labels, np.arange(len(labels))), (rows, test_labels, np.arange(len(test_labels)))]
    read, skipped = [], 0
    for (rows, row_labels, indices), images, what in zip(
        parts, (train_images, test_images), ("training", "test"), strict=True
    ):
        selected = indices[chosen(row_labels[indices], images, random, what)]
        readable, unreadable = decodable(rows, selected, row_labels, f"hf:{where}", skip_unreadable)
        read.append(readable)
        skipped += unreadable
    notes = (f"{skipped} unreadable rows were left out",) if skipped else ()
    digest = hashlib.sha256(labels.tobytes()).hexdigest()[:16] if split else ""
    return Data(f"hf:{where}", (Task("", classes),), read[0], read[1], notes=notes, divided=digest)


def _opened(datasets: Any, where: str) -> Any:
    path = Path(where)
    if path.is_dir() and sorted(path.rglob("*.parquet")):
        files = {
            name: [str(file) for file in sorted(path.rglob(f"{name}*.parquet"))]
            for name in ("train", *_TESTS)
            if sorted(path.rglob(f"{name}*.parquet"))
        }
        return datasets.load_dataset("parquet", data_files=files)
    if path.is_dir():
        return datasets.load_dataset("imagefolder", data_dir=where)
    return datasets.load_dataset(where)


def _columns(
    datasets: Any, splits: Any, name: str, where: str, classes: tuple[str, ...] | None = None
) -> tuple[Rows, tuple[str, ...], Indices]:
    """Return the images, the classes and the labels of a split.

    Args:
        datasets: the library.
        splits: every split by its name.
        name: the split.
        where: the data set, for messages.
        classes: the classes of the training split. Default: this is the training split.
    """
    rows = splits[name]
    image = next((key for key, kind in rows.features.items() if isinstance(kind, datasets.Image)), None)
    label = next((key for key, kind in rows.features.items() if isinstance(kind, datasets.ClassLabel)), None)
    label = label or ("label" if "label" in rows.features else None)
    if image is None or label is None:
        raise InputError(
            f"hf:{where} has no column of {'images' if image is None else 'labels'}: {', '.join(rows.features)}"
        )
    split = f"{name} of hf:{where}"
    values = list(rows[label])
    missing = [row for row, value in enumerate(values) if value is None]
    if missing:
        raise InputError(f"{split}: {len(missing)} rows have no label, the first is row {missing[0]}")
    named = getattr(rows.features[label], "names", None)
    if classes is not None and named and tuple(named) != classes:
        raise InputError(f"hf:{where}: the classes of train and {name} differ")
    names = classes or tuple(named or _class_names(values, split))
    labels = _numbers(values, names, split)
    check_labels(labels[:, None], (Task("", names),), f"hf:{where}: {name}")
    folders = (Path(where),) if Path(where).is_dir() else (Path(datasets.config.HF_DATASETS_CACHE),)
    undecoded = rows.cast_column(image, datasets.Image(decode=False))
    return Rows(undecoded, image, split, folders), names, labels


def _class_names(values: Sequence[Any], split: str) -> tuple[str, ...]:
    """Return the classes of labels without names: the texts, sorted, or every number up to the largest."""
    if all(isinstance(value, str) for value in values):
        return tuple(sorted(set(values)))
    numbers = [value for value in values if isinstance(value, int)]
    if len(numbers) != len(values):
        odd = next(row for row, value in enumerate(values) if not isinstance(value, int))
        raise InputError(f"{split}: labels must be whole numbers or texts, row {odd} has {values[odd]!r:.40}")
    largest = max(numbers, default=-1)
    if largest >= MOST_CLASSES:
        raise InputError(f"{split}: labels must be below {MOST_CLASSES:,}, row {numbers.index(largest)} has {largest}")
    return tuple(map(str, range(largest + 1)))


def _numbers(values: Sequence[Any], names: Sequence[str], split: str) -> Indices:
    """Return labels as the numbers of their classes."""
    number_of = {name: number for number, name in enumerate(names)}
    numbers = [number_of.get(value, value) if isinstance(value, str) else value for value in values]
    odd = [row for row, number in enumerate(numbers) if not isinstance(number, int) or abs(number) >= 2**63]
    if odd:
        raise InputError(
            f"{split}: {len(odd)} rows have a label that is no class, row {odd[0]} has {values[odd[0]]!r:.40}"
        )
    return np.array(numbers, dtype=np.int64)
