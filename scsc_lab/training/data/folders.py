"""``imagefolder:DIR``: a folder for every class, in ``train/`` and ``val/``, or to be split; decoded by Pillow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from scsc_lab.errors import InputError
from scsc_lab.training.data import Data, Image, Labels, Task
from scsc_lab.training.data.choices import check_classes, chosen, divided
from scsc_lab.training.draws import Purpose, generator

SUFFIXES = frozenset(".jpg .jpeg .png .bmp .gif .tif .tiff .webp .ppm .pgm".split())
"""Endings of files that are taken for images, in lower case."""


@dataclass(frozen=True)
class Files:
    """Images of a split that stay in their files until they are needed.

    Attributes:
        paths: the files.
        labels: ``(images, 1)``.
    """

    paths: tuple[Path, ...]
    labels: Labels

    def image(self, index: int) -> Image:
        """Return one image in RGB, at its own size."""
        with Pillow.open(self.paths[index]) as picture:
            return np.asarray(picture.convert("RGB")).transpose(2, 0, 1)


def load(
    where: str,
    seed: int,
    *,
    train_images: int = 0,
    test_images: int = 0,
    split: float = 0.0,
    skip_unreadable: bool = False,
) -> Data:
    """Return the images of a folder; see :func:`scsc_lab.training.data.registry.load` for the arguments.

    Raises:
        InputError: if the folder, its splits or its classes are not there, or files cannot be read: all are named
            before anything is trained.
    """
    root = Path(where)
    if not root.is_dir():
        raise InputError(f"imagefolder:{where}: no such folder")
    random = generator(seed, Purpose.SPLIT)
    if split:
        names, paths, labels = _found(root)
        train, test = divided(labels, split, random)
        parts = [(train, paths, labels), (test, paths, labels)]
    else:
        missing = [name for name in ("train", "val") if not (root / name).is_dir()]
        if missing:
            raise InputError(
                f"{where} has no folder {' or '.join(missing)}: add it, or divide one folder with --split 0.2"
            )
        names, paths, labels = _found(root / "train")
        names_of_test, test_paths, test_labels = _found(root / "val")
        if names_of_test != names:
            odd = ", ".join(sorted(set(names) ^ set(names_of_test)))
            raise InputError(f"{where}: the classes of train and val differ: {odd}")
        parts = [(np.arange(len(own)), files, own) for files, own in ((paths, labels), (test_paths, test_labels))]
    check_classes(names, where)
    splits, skipped = [], 0
    for (indices, files, own), images, what in zip(
        parts, (train_images, test_images), ("training", "test"), strict=True
    ):
        taken = indices[chosen(own[indices], images, random, what)]
        unreadable = {int(index) for index in taken if not _readable(files[index])}
        if unreadable and not skip_unreadable:
            listed = ", ".join(str(files[index]) for index in sorted(unreadable)[:3])
            more = f" and {len(unreadable) - 3} more" if len(unreadable) > 3 else ""
            raise InputError(f"unreadable: {listed}{more}; --skip-unreadable goes on without them")
        skipped += len(unreadable)
        kept = [int(index) for index in taken if int(index) not in unreadable]
        splits.append(Files(tuple(files[index] for index in kept), own[kept, None]))
    notes = (f"{skipped} unreadable files were left out",) if skipped else ()
    return Data(f"imagefolder:{where}", (Task("", names),), splits[0], splits[1], notes=notes)


def _found(root: Path) -> tuple[tuple[str, ...], list[Path], np.ndarray]:
    """Return the classes of a folder, its image files and their labels, in order."""
    names = tuple(sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")))
    paths, labels = [], []
    for label, name in enumerate(names):
        own = sorted(path for path in (root / name).rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        if not own:
            raise InputError(f"{root / name} has no images ({', '.join(sorted(SUFFIXES))})")
        paths += own
        labels += [label] * len(own)
    if not paths:
        raise InputError(f"{root} has no folder of images: one for every class is needed")
    return names, paths, np.array(labels, dtype=np.int64)


def _readable(path: Path) -> bool:
    """Return whether a file decodes to its last pixel."""
    try:
        with Pillow.open(path) as picture:
            picture.load()
    except (OSError, ValueError, SyntaxError, Pillow.DecompressionBombError):
        return False
    return True
