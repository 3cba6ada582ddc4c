"""``hf:NAME_OR_PATH``: what Hugging Face ``datasets`` loads, local or from the hub; read image by image."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scsc_lab import image_files
from scsc_lab.errors import InputError, imported, last_line
from scsc_lab.training.data import Data
from scsc_lab.training.data.encoded import Source
from scsc_lab.training.data.reading import TESTS, Contents, Part, Request, assemble, class_names, numbered, of_unused


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
            with contextlib.suppress(OSError, ValueError):  # a name that no file can have
                file = (folder / path).resolve()
                if file.is_relative_to(folder.resolve()) and file.is_file():
                    return file, f"{name} ({path})"
        raise InputError(f"{name} names {path!r:.200}, which is not a file in {' or '.join(map(str, self.folders))}")


def load(where: str, request: Request) -> Data:
    """Return a data set of Hugging Face, local or from the hub.

    The image column is the first of type ``Image``, the label column the first ``ClassLabel``, else ``label``, unless
    they are named. Labels without names are whole numbers from 0, or texts; their classes are those of the training
    split.

    Raises:
        InputError: if ``datasets`` is missing or cannot load it, if splits or columns are missing, or a row has no
            label, no image or an image that cannot be decoded.
    """
    datasets = imported("datasets", "hf: needs datasets: pip install 'scsc-lab[datasets]'")
    try:
        splits = _opened(datasets, where)
    except Exception as error:  # whatever a loader or the network raises
        raise InputError(f"hf:{where} cannot be loaded: {last_line(error)}") from None
    present = [name for name in ("train", next((name for name in TESTS if name in splits), "")) if name in splits]
    needed = present or list(splits)[:1]
    if request.split:
        needed = needed[:1]
    image, label = _columns(datasets, {name: splits[name].features for name in needed}, where, request)
    values = {name: list(splits[name][label]) for name in needed}
    classes = tuple(getattr(splits[needed[0]].features[label], "names", None) or ())
    if not classes:
        learned = [value for name in (needed if request.identities else needed[:1]) for value in values[name]]
        classes = class_names([value for value in learned if value is not None], f"hf:{where}: {needed[0]}")
    folders = (Path(where),) if Path(where).is_dir() else (Path(datasets.config.HF_DATASETS_CACHE),)
    has_images = [name for name, split in splits.items() if image in split.features]
    undecoded = {name: splits[name].cast_column(image, datasets.Image(decode=False)) for name in has_images}
    parts = {}
    for name in needed:
        names = getattr(splits[name].features[label], "names", None)
        if names and tuple(names) != classes:
            raise InputError(f"hf:{where}: the classes of train and {name} differ")
        rows = Rows(undecoded[name], image, f"{name} of hf:{where}", folders)
        parts[name] = Part(rows, numbered(values[name], classes, f"hf:{where}: {name}"))
    identity = parts[needed[0]].labels.tobytes()
    left_out = image_files.describe_left_out(_left_out(Path(where), undecoded.values(), image))
    notes = (*of_unused([name for name in present if name not in needed]), *left_out)
    return assemble(f"hf:{where}", Contents(classes, parts, notes, identity), request, "rows")


def _opened(datasets: Any, where: str) -> Any:
    path = Path(where)
    if _is_saved(path):
        loaded = datasets.load_from_disk(where)
        return loaded if isinstance(loaded, dict) else {"train": loaded}
    if files := _parquet_files(path):
        return datasets.load_dataset("parquet", data_files=files)
    if path.is_dir():
        return datasets.load_dataset("imagefolder", data_dir=where)
    return datasets.load_dataset(where)


def _is_saved(path: Path) -> bool:
    """Return whether a folder was written by save_to_disk."""
    return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file()


def _parquet_files(path: Path) -> dict[str, list[str]]:
    """Return the Parquet files of each split of a folder, by their names."""
    by_split = {name: [str(file) for file in sorted(path.rglob(f"{name}*.parquet"))] for name in ("train", *TESTS)}
    return {name: files for name, files in by_split.items() if files}


def _columns(datasets: Any, features: Mapping[str, Any], where: str, request: Request) -> tuple[str, str]:
    """Return the columns of images and of labels, which every split must have."""
    first = next(iter(features.values()))
    image = request.image_column or next((key for key, kind in first.items() if isinstance(kind, datasets.Image)), "")
    label = next((key for key, kind in first.items() if isinstance(kind, datasets.ClassLabel)), "label")
    label = request.label_column or label
    for kind, key in (("image", image), ("label", label)):
        for columns in features.values():
            if key not in columns:
                name = f" {key!r}" if getattr(request, f"{kind}_column") else ""
                listed = ", ".join(columns)
                raise InputError(f"hf:{where} has no column of {kind}s{name}: name one of {listed} by --{kind}-column")
    return image, label


def _left_out(folder: Path, splits: Iterable[Any], image: str) -> Counter[str]:
    """Return the number of files of a folder that are in none of its splits, by suffix or by another reason."""
    if not folder.is_dir() or _is_saved(folder):
        return Counter()
    parquet = [file for files in _parquet_files(folder).values() for file in files]
    rows = (row for split in splits for row in split[image] if row and row["path"])
    used = set() if parquet else {os.path.realpath(row["path"]) for row in rows}
    listing = image_files.list_images(folder)
    left_out = Counter(listing.left_out)
    left_out.subtract(image_files.suffix_of(Path(file)) for file in parquet or folder.rglob("metadata.*"))
    left_out.update(image_files.suffix_of(path) for path in listing.images if os.path.realpath(path) not in used)
    return +left_out
