"""Files of maps: ``.npz`` with every setting, written whole and read without torch.

``numpy.load(file)`` has these keys, with fields counted from 0:

- ``settings``: JSON text, ``{"version": 2, "settings": [...]}``, with the attributes of
  :class:`scsc_lab.analysis.field.Setting` for each field;
- ``maps0``, ``maps1``, …: float32, ``(seeds · images, H, W)``, the images of a seed together, each of sum 1 and all
  zero where the unit was dead (``replknet``: contributions as they are); or their mean alone, ``(1, H, W)``;
- ``support0``, …: bool, ``(H, W)``: the theoretical field; missing where it could not be told.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from scsc_lab import files
from scsc_lab.analysis.field import Field, Setting
from scsc_lab.errors import InputError

VERSION = 2
"""Version of the files written here; those of version 1 are read, which did not know which images they are of."""


def check(path: Path) -> None:
    """Raise InputError if maps cannot be written under this name; to be asked before anything is measured."""
    if path.suffix != ".npz":
        raise InputError(f"cannot save maps as {str(path)!r}: the suffix is .npz")
    files.check_writable(path)


def save(measured: Sequence[Field], path: Path) -> None:
    """Write fields to a file.

    Raises:
        InputError: if it cannot be written there.
    """
    check(path)
    files.write(path, content(measured))


def content(measured: Sequence[Field]) -> bytes:
    """Return the content of a file of fields."""
    arrays: dict[str, Any] = {}
    for index, field in enumerate(measured):
        arrays[f"maps{index}"] = field.maps
        if field.support is not None:
            arrays[f"support{index}"] = field.support
    settings = {"version": VERSION, "settings": [asdict(field.setting) for field in measured]}
    arrays["settings"] = np.array(json.dumps(settings))
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def load(path: Path, content: bytes | None = None) -> list[Field]:
    """Return the fields of a file.

    Args:
        path: the file.
        content: its content, where that is read already.

    Raises:
        InputError: if it cannot be read, holds no maps, or is of another version.
    """
    try:
        with np.load(path if content is None else io.BytesIO(content), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        document = json.loads(str(arrays["settings"]))
        version, settings = document["version"], document["settings"]
        if version not in (1, VERSION):
            raise InputError(f"{path} holds maps of version {version}; this is version {VERSION}: measure again")
        return [_field(index, values, arrays) for index, values in enumerate(settings)]
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or 'no file of maps'}") from None
    except (AttributeError, EOFError, KeyError, TypeError, ValueError, IndexError, zipfile.BadZipFile):
        raise InputError(f"{path} is not a file of maps: `scsc-lab erf --save` writes them") from None


def _field(index: int, values: dict[str, Any], arrays: dict[str, Any]) -> Field:
    names = {entry.name: entry.default for entry in fields(Setting)}
    due = {name for name, default in names.items() if default is MISSING}
    if not due <= set(values) <= set(names):
        raise KeyError(index)
    pairs: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    setting = Setting(**pairs)
    maps = arrays[f"maps{index}"]
    if maps.shape[1:] != tuple(setting.resolution) or maps.shape[0] not in (1, setting.seeds * setting.images):
        raise ValueError(index)
    return Field(setting, maps, arrays.get(f"support{index}"))
