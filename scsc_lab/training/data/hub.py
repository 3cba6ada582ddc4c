"""``hf:NAME_OR_PATH``: what Hugging Face ``datasets`` loads, local or from the hub; read image by image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scsc_lab.errors import InputError, last_line
from scsc_lab.training.data import Data
from scsc_lab.training.data.encoded import Source
from scsc_lab.training.data.reading import TESTS, Found, Part, Request, assemble, class_names, numbered


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


def load(where: str, request: Request) -> Data:
    """Return a data set of Hugging Face, local or from the hub.

    The image column is the first of type ``Image``, the label column the first ``ClassLabel``, else ``label``, unless
    they are named. Labels without names are whole numbers from 0, or texts; their classes are those of the training
    split.

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
    needed = [name for name in ("train", next((name for name in TESTS if name in splits), "")) if name in splits]
    if request.split or (len(needed) < 2 and not (request.evaluated and needed)):
        needed = needed[:1] or list(splits)[:1]
    classes: tuple[str, ...] | None = None
    parts = {}
    for name in needed:
        part, classes = _part(datasets, splits, name, where, classes, request)
        parts[name] = part
    assert classes is not None
    identity = next(iter(parts.values())).labels.tobytes()
    return assemble(f"hf:{where}", Found(classes, parts, (), identity), request, "rows")


def _opened(datasets: Any, where: str) -> Any:
    path = Path(where)
    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():  # as save_to_disk writes them
        loaded = datasets.load_from_disk(where)
        return loaded if isinstance(loaded, dict) else {"train": loaded}
    if path.is_dir() and sorted(path.rglob("*.parquet")):
        files = {
            name: [str(file) for file in sorted(path.rglob(f"{name}*.parquet"))]
            for name in ("train", *TESTS)
            if sorted(path.rglob(f"{name}*.parquet"))
        }
        return datasets.load_dataset("parquet", data_files=files)
    if path.is_dir():
        return datasets.load_dataset("imagefolder", data_dir=where)
    return datasets.load_dataset(where)


def _part(
    datasets: Any, splits: Any, name: str, where: str, classes: tuple[str, ...] | None, request: Request
) -> tuple[Part, tuple[str, ...]]:
    """Return the images and labels of a split, and the classes: of the training split, unless this is it."""
    rows = splits[name]
    image = request.image_column or next(
        (key for key, kind in rows.features.items() if isinstance(kind, datasets.Image)), None
    )
    label = next((key for key, kind in rows.features.items() if isinstance(kind, datasets.ClassLabel)), None)
    label = request.label_column or label or ("label" if "label" in rows.features else None)
    for kind, key in (("image", image), ("label", label)):
        if key not in rows.features:
            name = f" {key!r}" if key else ""
            raise InputError(
                f"hf:{where} has no column of {kind}s{name}: name one of {', '.join(rows.features)} by --{kind}-column"
            )
    split = f"hf:{where}: {name}"
    values = list(rows[label])
    named = getattr(rows.features[label], "names", None)
    if classes is not None and named and tuple(named) != classes:
        raise InputError(f"hf:{where}: the classes of train and {name} differ")
    names = classes or tuple(named or class_names([value for value in values if value is not None], split))
    labels = numbered(values, names, split)
    folders = (Path(where),) if Path(where).is_dir() else (Path(datasets.config.HF_DATASETS_CACHE),)
    undecoded = rows.cast_column(image, datasets.Image(decode=False))
    return Part(Rows(undecoded, str(image), f"{name} of hf:{where}", folders), labels), names
