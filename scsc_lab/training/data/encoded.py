"""Images that stay encoded, in files or rows, until they are needed; each is decoded once to see that it can be."""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from scsc_lab import image_files
from scsc_lab.errors import InputError
from scsc_lab.training.data import Image, Indices, Labels

_KEY_LENGTH = 24

Source = tuple[Path | bytes, str]
"""An image's file or content, and its name."""


class Sources(Protocol):
    """The images of a data set, encoded."""

    def source(self, index: int) -> Source:
        """Return one image by its index.

        Raises:
            InputError: if there is none that may be read.
        """


@dataclass(frozen=True)
class Encoded:
    """Images of a split.

    Attributes:
        sources: the images of the data set.
        indices: those of the split, by their index in the data set.
        labels: ``(images, 1)``.
        background: colour behind transparent pixels; empty: transparency is dropped.
    """

    sources: Sources
    indices: Indices
    labels: Labels
    background: str = ""

    def image(self, index: int) -> Image:
        """Return one image in RGB, at its own size."""
        source, name = self.sources.source(int(self.indices[index]))
        return image_files.read(source, name=name, background=self.background)

    def name(self, index: int) -> str:
        """Return the name of one image."""
        return self.sources.source(int(self.indices[index]))[1]


_decodable: dict[Path, set[str]] = {}
"""Keys of images that were decoded without an error, by the file that keeps them between processes."""


def decodable(
    sources: Sources, indices: Indices, labels: Indices, data: str, skip_unreadable: bool
) -> tuple[Encoded, int]:
    """Return the split of the images that can be decoded, and the number of the others.

    Each image is decoded once: the user's cache folder keeps the result by path, size and time, or by content.

    Args:
        sources: the images of the data set.
        indices: those of the split, by their index in the data set.
        labels: the class of every image of the data set.
        data: the name of the data set.
        skip_unreadable: leave out images that cannot be decoded.

    Raises:
        InputError: if images cannot be decoded and are not to be left out. The message names them.
    """
    file = _cache_folder() / f"decodable-{hashlib.sha256(data.encode()).hexdigest()[:16]}.txt"
    keys = _decodable.setdefault(file, set())
    keys |= _read_keys(file)
    readable, new, errors = [], [], []
    for index in map(int, indices):
        try:
            source, name = sources.source(index)
            key = _key(source)
            if key not in keys:
                image_files.decode(source, name=name)
                new.append(key)
                keys.add(key)
            readable.append(index)
        except InputError as error:
            errors.append(str(error))
    if new:
        _append_keys(file, new)
    if errors and not skip_unreadable:
        omitted = f"; and {len(errors) - 3} more" if len(errors) > 3 else ""
        raise InputError(f"unreadable: {'; '.join(errors[:3])}{omitted}. --skip-unreadable leaves them out")
    chosen = np.array(readable, dtype=np.int64)
    return Encoded(sources, chosen, labels[chosen, None]), len(errors)


def _key(source: Path | bytes) -> str:
    """Return a key that changes with the file or the content."""
    if isinstance(source, bytes):
        content = source
    else:
        try:
            state = source.stat()
        except (OSError, ValueError):
            raise image_files.UnreadableError(f"{source} is not a file") from None
        content = f"{os.path.realpath(source)}|{state.st_size}|{state.st_mtime_ns}".encode(errors="surrogateescape")
    return hashlib.sha256(content).hexdigest()[:_KEY_LENGTH]


def _cache_folder() -> Path:
    """Return the folder of the user's cache: ``$XDG_CACHE_HOME/scsc-lab``, or ``~/.cache/scsc-lab``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "scsc-lab"


def _read_keys(file: Path) -> set[str]:
    """Return the kept keys; a line torn by a kill is no key."""
    try:
        return {line for line in file.read_text("ascii", "replace").splitlines() if len(line) == _KEY_LENGTH}
    except OSError:
        return set()


def _append_keys(file: Path, keys: list[str]) -> None:
    with contextlib.suppress(OSError):  # without a cache, the next process decodes again
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="ascii") as lines:
            lines.write("\n" + "\n".join(keys) + "\n")
