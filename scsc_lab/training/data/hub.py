"""``hf:NAME_OR_PATH``: what Hugging Face ``datasets`` loads, local or from the hub; read image by image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scsc_lab.errors import InputError, last_line
from scsc_lab.training.data import Data, Image, Labels, Task
from scsc_lab.training.data.choices import check_classes, chosen, divided
from scsc_lab.training.draws import Purpose, generator

_TESTS = ("validation", "val", "valid", "test")


@dataclass(frozen=True)
class Rows:
    """Images of a split that stay where ``datasets`` keeps them, memory-mapped, until they are needed."""

    rows: Any
    column: str
    labels: Labels

    def image(self, index: int) -> Image:
        """Return one image in RGB, at its own size."""
        return np.asarray(self.rows[index][self.column].convert("RGB")).transpose(2, 0, 1)


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

    The image column and the label column are the first of the types ``Image`` and ``ClassLabel`` (or ``label``).

    Raises:
        InputError: if ``datasets`` is missing or cannot load it, or splits or columns are not there.
    """
    del skip_unreadable  # its files are decoded by ``datasets``, which has no such thing
    try:
        import datasets
    except ImportError:
        raise InputError("hf: needs datasets: pip install 'scsc-lab[datasets]'") from None
    try:
        found = _opened(datasets, where)
    except Exception as error:  # whatever a loader or the network raises
        raise InputError(f"hf:{where} cannot be loaded: {last_line(error)}") from None
    if "train" not in found:
        raise InputError(f"hf:{where} has no split train (it has {', '.join(found)})")
    random = generator(seed, Purpose.SPLIT)
    rows = found["train"]
    column, names, labels = _columns(datasets, rows, where)
    if split:
        indices, tested = divided(labels, split, random)
        parts = [(rows, labels, indices), (rows, labels, tested)]
    else:
        test = next((name for name in _TESTS if name in found), None)
        if test is None:
            raise InputError(f"hf:{where} has no split {' or '.join(_TESTS)}: divide train with --split 0.2")
        _, of_test, other = _columns(datasets, found[test], where)
        if of_test != names:
            raise InputError(f"hf:{where}: the classes of train and {test} differ")
        parts = [(rows, labels, np.arange(len(labels))), (found[test], other, np.arange(len(other)))]
    check_classes(names, f"hf:{where}")
    splits = []
    for (own, all_labels, indices), images, what in zip(
        parts, (train_images, test_images), ("training", "test"), strict=True
    ):
        taken = indices[chosen(all_labels[indices], images, random, what)]
        splits.append(Rows(own.select(taken), column, all_labels[taken, None]))
    return Data(f"hf:{where}", (Task("", names),), splits[0], splits[1])


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


def _columns(datasets: Any, rows: Any, where: str) -> tuple[str, tuple[str, ...], np.ndarray]:
    """Return the name of the image column, the classes and the labels of a split."""
    image = next((name for name, kind in rows.features.items() if isinstance(kind, datasets.Image)), None)
    label = next((name for name, kind in rows.features.items() if isinstance(kind, datasets.ClassLabel)), None)
    label = label or ("label" if "label" in rows.features else None)
    if image is None or label is None:
        raise InputError(
            f"hf:{where} has no column of {'images' if image is None else 'labels'}: {', '.join(rows.features)}"
        )
    labels = np.asarray(rows[label], dtype=np.int64)
    names = getattr(rows.features[label], "names", None) or [str(value) for value in range(int(labels.max()) + 1)]
    return image, tuple(names), labels
