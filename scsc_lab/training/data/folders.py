"""``imagefolder:DIR``: a folder per class, in ``train`` and ``val`` or below; ``csv:FILE``: paths in a table."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scsc_lab import files, image_files
from scsc_lab.errors import InputError
from scsc_lab.training.data import Data, Indices
from scsc_lab.training.data.encoded import Source
from scsc_lab.training.data.reading import (
    TESTS,
    Contents,
    Part,
    Request,
    assemble,
    class_names,
    numbered,
    of_unused,
)

_SHOWN = 6
"""Classes that a message lists."""


@dataclass(frozen=True)
class Files:
    """Image files."""

    paths: tuple[Path, ...]

    def source(self, index: int) -> Source:
        """Return one file and its name."""
        return self.paths[index], str(self.paths[index])


def load(where: str, request: Request) -> Data:
    """Return the images of a folder.

    Raises:
        InputError: if the folder, its splits or its classes are missing, or files cannot be read: all are named
            before anything is trained.
    """
    root = Path(where)
    if not root.is_dir():
        raise InputError(f"imagefolder:{where}: no such folder")
    present = {name: root / name for name in ("train", *TESTS) if (root / name).is_dir()}
    test = next((name for name in TESTS if name in present), "")
    folders = {name: present[name] for name in ("train", test) if name in present}
    if (request.split or request.evaluated) and not any(map(_class_names, folders.values())):
        folders = {"train": root}  # a class may be called test
    elif not request.split and len(folders) < 2 and not (request.evaluated and test):
        missing = " or ".join(name for name, folder in (("train", folders.get("train")), ("val", test)) if not folder)
        raise InputError(f"{where} has no folder {missing}: add it, or divide one folder with --split 0.2")
    unused = [*folders][1:] if request.split else []
    folders = {name: folder for name, folder in folders.items() if name not in unused}
    listed = {name: _class_folders(folder) for name, folder in folders.items()}
    first = next(iter(folders))
    names_of = {name: names for name, (names, *_) in listed.items()}
    classes = names_of[first]
    if request.identities:
        classes = tuple(sorted({identity for names in names_of.values() for identity in names}))
    elif any(names != classes for names in names_of.values()):
        differing = sorted(set.symmetric_difference(*map(set, names_of.values())))
        listed_names = f"{', '.join(differing[:_SHOWN])}{', …' if len(differing) > _SHOWN else ''}"
        raise InputError(f"{where}: the classes of train and {test} differ: {listed_names}")
    left_out: Counter[str] = sum((counts for _, _, _, counts, _ in listed.values()), Counter())
    shared = len(set.intersection(*(real for *_, real in listed.values()))) if len(listed) > 1 else 0
    links = [f"{shared} test images are links to training images, or the reverse"] if shared else []
    names = "\n".join(path.relative_to(folders[first]).as_posix() for path in listed[first][1].paths)
    number_of = {identity: number for number, identity in enumerate(classes)}
    parts = {
        name: Part(files, np.array([number_of[identity] for identity in names_of[name]])[labels])
        for name, (_, files, labels, *_) in listed.items()
    }
    notes = (*links, *of_unused(unused), *image_files.describe_left_out(left_out))
    contents = Contents(classes, parts, notes, names.encode(errors="surrogateescape"))
    return assemble(f"imagefolder:{where}", contents, request)


def _class_names(root: Path) -> tuple[str, ...]:
    """Return the names of a folder's folders that are not hidden, sorted."""
    return tuple(sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")))


def _class_folders(root: Path) -> tuple[tuple[str, ...], Files, Indices, Counter[str], set[str]]:
    """Return a folder's classes, sorted, its image files, their classes, the files left out, and paths behind links.

    Raises:
        InputError: if a class has no images, there is none, or one file is in two.
    """
    names = _class_names(root)
    unlisted = [path for path in root.iterdir() if path.name not in names]
    left_out = Counter("hidden" if path.name.startswith(".") else image_files.suffix_of(path) for path in unlisted)
    class_of: dict[str, Path] = {}
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(names):
        listing = image_files.list_images(root / name)
        if not listing.images:
            raise InputError(f"{root / name} has no images ({', '.join(image_files.SUFFIXES)})")
        for path in listing.images:
            if (first := class_of.setdefault(os.path.realpath(path), path)) != path:
                raise InputError(f"{first} and {path} are one file in two classes: keep it in one")
        paths += listing.images
        labels += [label] * len(listing.images)
        left_out.update(listing.left_out)
    if not paths:
        raise InputError(f"{root} has no folder of images: one for every class is needed")
    return names, Files(tuple(paths)), np.array(labels, dtype=np.int64), +left_out, set(class_of)


_IMAGES = ("image", "path", "file", "filename", "file_name")
_LABELS = ("label", "class", "target", "identity")
_SPLIT = "split"
_MISSING = ("", "nan", "null", "<na>")
"""Texts of a row without a label, as other programs write it."""


def load_table(where: str, request: Request) -> Data:
    """Return the images that a CSV file lists, relative to its folder; labels are texts or whole numbers from 0.

    A column ``split`` with the words ``train`` and ``val``, ``validation`` or ``test`` divides them. The classes are
    those of the training images, if there are any.

    Raises:
        InputError: if the file, a column or a label is missing, or images cannot be read.
    """
    path = Path(where)
    columns, rows = files.read_csv(path, f"csv:{where}")
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
