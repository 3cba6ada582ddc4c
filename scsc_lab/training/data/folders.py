"""``imagefolder:DIR``: one folder per class, in ``train/`` and ``val/`` or below ``DIR``, divided by ``--split``."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scsc_lab import image_files
from scsc_lab.errors import InputError
from scsc_lab.training.data import Data, Task
from scsc_lab.training.data.choices import Indices, check_classes, chosen, divided
from scsc_lab.training.data.encoded import Source, decodable
from scsc_lab.training.draws import Purpose, generator


@dataclass(frozen=True)
class ClassFolders:
    """The image files of a folder with one folder per class.

    Attributes:
        classes: names of the classes, sorted.
        paths: the files, class by class.
        labels: the class of each file.
        left_out: number of files left out, by suffix or by another reason.
    """

    classes: tuple[str, ...]
    paths: tuple[Path, ...]
    labels: Indices
    left_out: Counter[str]

    def source(self, index: int) -> Source:
        """Return one file and its name."""
        return self.paths[index], str(self.paths[index])


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
        InputError: if the folder, its splits or its classes are missing, or files cannot be read: all are named
            before anything is trained.
    """
    root = Path(where)
    if not root.is_dir():
        raise InputError(f"imagefolder:{where}: no such folder")
    random = generator(seed, Purpose.SPLIT)
    notes: list[str] = []
    if split:
        train = test = _class_folders(root)
        train_indices, test_indices = divided(train.labels, split, random)
    else:
        missing = [name for name in ("train", "val") if not (root / name).is_dir()]
        if missing:
            raise InputError(
                f"{where} has no folder {' or '.join(missing)}: add it, or divide one folder with --split 0.2"
            )
        train, test = _class_folders(root / "train"), _class_folders(root / "val")
        if test.classes != train.classes:
            odd = ", ".join(sorted(set(train.classes) ^ set(test.classes)))
            raise InputError(f"{where}: the classes of train and val differ: {odd}")
        train_indices, test_indices = np.arange(len(train.labels)), np.arange(len(test.labels))
        shared = len({os.path.realpath(path) for path in train.paths} & {os.path.realpath(path) for path in test.paths})
        if shared:
            notes.append(f"{shared} test images are links to training images, or the reverse")
    check_classes(train.classes, where)
    splits, skipped = [], 0
    for part, indices, images, what in (
        (train, train_indices, train_images, "training"),
        (test, test_indices, test_images, "test"),
    ):
        selected = indices[chosen(part.labels[indices], images, random, what)]
        readable, unreadable = decodable(part, selected, part.labels, os.path.realpath(root), skip_unreadable)
        splits.append(readable)
        skipped += unreadable
    notes += image_files.describe_left_out(train.left_out if split else train.left_out + test.left_out)
    notes += [f"{skipped} unreadable files were left out"] if skipped else []
    return Data(
        f"imagefolder:{where}",
        (Task("", train.classes),),
        splits[0],
        splits[1],
        notes=tuple(notes),
        divided=_digest(train, root) if split else "",
    )


def _class_folders(root: Path) -> ClassFolders:
    """Return the image files of a folder, class by class.

    Raises:
        InputError: if a class has no images, or there is none.
    """
    entries = sorted(path for path in root.iterdir() if not path.name.startswith("."))
    names = tuple(path.name for path in entries if path.is_dir())
    left_out = Counter(path.suffix.lower() or "without suffix" for path in entries if not path.is_dir())
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(names):
        listing = image_files.list_images(root / name)
        if not listing.images:
            raise InputError(f"{root / name} has no images ({', '.join(image_files.SUFFIXES)})")
        paths += listing.images
        labels += [label] * len(listing.images)
        left_out.update(listing.left_out)
    if not paths:
        raise InputError(f"{root} has no folder of images: one for every class is needed")
    return ClassFolders(names, tuple(paths), np.array(labels, dtype=np.int64), left_out)


def _digest(files: ClassFolders, root: Path) -> str:
    """Return a digest of the names of the files, which with the seed decide the split."""
    names = "\n".join(path.relative_to(root).as_posix() for path in files.paths)
    return hashlib.sha256(names.encode(errors="surrogateescape")).hexdigest()[:16]
