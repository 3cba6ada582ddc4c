"""Images to measure on: drawn from a folder, or synthetic with the spectrum of natural images.

Arrays are ``(images, C, H, W)``, float32, normalised as the network's evaluation does it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scsc_lab.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""Files that are taken for images."""

SYNTHETIC = "synthetic 1/f images"
_CROP = 0.875
"""Part of the shorter side that the centre crop keeps, as for evaluation on ImageNet: 224 of 256."""


@dataclass(frozen=True, eq=False)
class Images:
    """Images as a network takes them.

    Attributes:
        pixels: ``(images, C, H, W)``, normalised.
        kind: what they are, in words.
        skipped: files that were passed over: no images, or broken.
    """

    pixels: NDArray[np.float32]
    kind: str
    skipped: int = 0


def synthetic(
    count: int, resolution: tuple[int, int], mean: Sequence[float], std: Sequence[float], seed: int
) -> Images:
    """Return random images whose amplitude falls with frequency as 1/f, as that of photographs does.

    Args:
        count: number of images; image ``i`` depends on the seed and ``i`` alone.
        resolution: height and width, in pixels.
        mean: mean of each channel, for pixels from 0 to 1.
        std: its deviation.
        seed: seed of the draw.
    """
    height, width = resolution
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    frequency[0, 0] = np.inf
    pixels = np.empty((count, len(mean), height, width), dtype=np.float32)
    for index in range(count):
        noise = np.random.default_rng([seed, index]).standard_normal((len(mean) + 1, height, width))
        waves = np.fft.irfft2(np.fft.rfft2(noise) / frequency, s=resolution)
        waves = waves[:-1] + 2 * waves[-1]  # the channels of photographs have most of their light in common
        spread = waves.std(axis=(1, 2), keepdims=True)
        pixels[index] = np.clip(0.5 + 0.2 * waves / np.where(spread > 0, spread, 1.0), 0.0, 1.0)
    return Images(_normalised(pixels, mean, std), SYNTHETIC)


def from_folder(
    folder: Path, count: int, resolution: tuple[int, int], mean: Sequence[float], std: Sequence[float], seed: int
) -> Images:
    """Return images drawn from a folder, evenly from its subfolders, prepared as for evaluation.

    The shorter side is resized to 1/0.875 of the input's, then the centre is cut out.

    Args:
        folder: where to look, in all depths.
        count: number of images wanted; fewer where the folder has fewer.
        resolution: height and width, in pixels.
        mean: mean of each channel, for pixels from 0 to 1; 1, 3 or 4 channels.
        std: its deviation.
        seed: seed of the draw.

    Raises:
        InputError: if there is no such folder, or no image in it.
    """
    if len(mean) not in _MODES:
        raise InputError(f"--images: the network takes {len(mean)} channels; files hold 1, 3 or 4")
    found: list[NDArray[np.float32]] = []
    skipped = 0
    for path in _drawn(folder, seed):
        if len(found) == count:
            break
        picture = _read(path, resolution, _MODES[len(mean)]) if path.suffix.lower() in SUFFIXES else None
        if picture is None:
            skipped += 1
        else:
            found.append(picture)
    if not found:
        raise InputError(f"no images in {folder}: {', '.join(SUFFIXES)}")
    return Images(_normalised(np.stack(found), mean, std), f"images of {folder.name or folder}", skipped)


_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def _drawn(folder: Path, seed: int) -> list[Path]:
    """Return the files of a folder in a drawn order in which its subfolders take turns."""
    if not folder.is_dir():
        raise InputError(f"no folder {str(folder)!r}")
    groups: dict[Path, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            groups.setdefault(path.parent, []).append(path)
    generator = np.random.default_rng(seed)
    shuffled = [[files[i] for i in generator.permutation(len(files))] for files in groups.values()]
    shuffled = [shuffled[i] for i in generator.permutation(len(shuffled))]
    longest = max(map(len, shuffled), default=0)
    return [files[turn] for turn in range(longest) for files in shuffled if turn < len(files)]


def _read(path: Path, resolution: tuple[int, int], mode: str) -> NDArray[np.float32] | None:
    """Return an image, ``(C, H, W)`` from 0 to 1, or ``None`` for a file that is none."""
    from PIL import Image

    try:
        with Image.open(path) as file:
            picture = _prepared(file.convert(mode), resolution)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # what broken files make pillow raise
        return None
    values = np.asarray(picture, dtype=np.float32) / 255.0
    return values[None] if values.ndim == 2 else values.transpose(2, 0, 1)


def _prepared(picture: Image, resolution: tuple[int, int]) -> Image:
    from PIL import Image

    height, width = resolution
    scale = max(height / picture.height, width / picture.width) / _CROP
    size = (max(round(picture.width * scale), width), max(round(picture.height * scale), height))
    resized = picture.resize(size, Image.Resampling.BICUBIC)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return resized.crop((left, top, left + width, top + height))


def _normalised(pixels: NDArray[np.float32], mean: Sequence[float], std: Sequence[float]) -> NDArray[np.float32]:
    shape = (1, len(mean), 1, 1)
    return (pixels - np.array(mean, np.float32).reshape(shape)) / np.array(std, np.float32).reshape(shape)
