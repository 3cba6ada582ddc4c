"""Images to measure on: drawn from a folder, or synthetic with the spectrum of natural images.

Arrays are ``(images, C, H, W)``, float32, normalised as the network's evaluation does it.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scsc_lab import image_files
from scsc_lab.errors import InputError

SYNTHETIC = "synthetic 1/f images"
_CROP = 0.875
"""Part of the shorter side that the centre crop keeps, as for evaluation on ImageNet: 224 of 256."""


@dataclass(frozen=True, eq=False)
class Images:
    """Images as a network takes them.

    Attributes:
        pixels: ``(images, C, H, W)``, normalised.
        kind: what they are, in words.
        codes: checksum of each image as it was before normalisation.
        left_out: number of files left out, by suffix or by another reason.
    """

    pixels: NDArray[np.float32]
    kind: str
    codes: tuple[int, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Key of these images among others of the same size, the same for every normalisation."""
        return f"{zlib.crc32(np.array(self.codes, dtype='<u4').tobytes()):08x}" if self.codes else ""


def drawn(
    folder: Path | None,
    count: int,
    resolution: tuple[int, int],
    mean: Sequence[float],
    std: Sequence[float],
    seed: int,
) -> Images:
    """Return images of :func:`from_folder`, or of :func:`synthetic`, in an order that depends on what they show alone.

    Args:
        folder: where to look; ``None`` for synthetic images.
        count: number of images.
        resolution: height and width, in pixels.
        mean: mean of each channel.
        std: its deviation.
        seed: seed of the draw.

    Raises:
        InputError: as :func:`from_folder`.
    """
    pixels = (
        synthetic(count, resolution, mean, std, seed)
        if folder is None
        else from_folder(folder, count, resolution, mean, std, seed)
    )
    order = sorted(range(len(pixels.pixels)), key=lambda index: pixels.codes[index])
    return replace(pixels, pixels=pixels.pixels[order], codes=tuple(pixels.codes[index] for index in order))


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
    return Images(_normalised(pixels, mean, std), SYNTHETIC, codes=_codes(pixels))


def from_folder(
    folder: Path, count: int, resolution: tuple[int, int], mean: Sequence[float], std: Sequence[float], seed: int
) -> Images:
    """Return images drawn from a folder, evenly from its subfolders, prepared as for evaluation.

    As if the shorter side were resized to 1/0.875 of the input's, then the centre cropped.

    Args:
        folder: the folder; see :func:`scsc_lab.image_files.list_images` for the files that count.
        count: number of images wanted; fewer where the folder has fewer.
        resolution: height and width, in pixels.
        mean: mean of each channel, for pixels from 0 to 1; 1, 3 or 4 channels.
        std: its deviation.
        seed: seed of the draw.

    Raises:
        InputError: if there is no such folder, no image in it, or one whose pixels have no known range.
    """
    if len(mean) not in _MODES:
        raise InputError(f"--images: the network takes {len(mean)} channels; files hold 1, 3 or 4")
    listing = _list_images(folder)
    pictures: list[NDArray[np.float32]] = []
    left_out = Counter(listing.left_out)
    for path in _in_drawn_order(listing.images, seed):
        if len(pictures) == count:
            break
        try:
            pictures.append(_read(path, resolution, _MODES[len(mean)]))
        except image_files.UnreadableError:
            left_out[f"unreadable {path.suffix.lower()}"] += 1
    if not pictures:
        raise InputError(f"no images in {folder}: {', '.join(image_files.SUFFIXES)}")
    pixels = np.stack(pictures)
    return Images(_normalised(pixels, mean, std), f"images of {folder.name or folder}", _codes(pixels), left_out)


_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def _list_images(folder: Path) -> image_files.Listing:
    if not folder.is_dir():
        raise InputError(f"no folder {str(folder)!r}")
    return image_files.list_images(folder)


def _in_drawn_order(paths: Sequence[Path], seed: int) -> list[Path]:
    """Return files in a drawn order in which their folders take turns."""
    groups: dict[Path, list[Path]] = {}
    for path in paths:
        groups.setdefault(path.parent, []).append(path)
    generator = np.random.default_rng(seed)
    shuffled = [[files[i] for i in generator.permutation(len(files))] for files in groups.values()]
    shuffled = [shuffled[i] for i in generator.permutation(len(shuffled))]
    longest = max(map(len, shuffled), default=0)
    return [files[turn] for turn in range(longest) for files in shuffled if turn < len(files)]


def _read(path: Path, resolution: tuple[int, int], mode: str) -> NDArray[np.float32]:
    """Return the centre of an image at the size of the input, ``(C, H, W)`` from 0 to 1."""
    from PIL import Image

    picture = image_files.decode(path, mode)
    values = np.asarray(image_files.centre(picture, resolution, _CROP, Image.Resampling.BICUBIC), np.float32) / 255.0
    return values[None] if values.ndim == 2 else values.transpose(2, 0, 1)


def _codes(pixels: NDArray[np.float32]) -> tuple[int, ...]:
    return tuple(zlib.crc32(np.ascontiguousarray(image).tobytes()) for image in pixels)


def _normalised(pixels: NDArray[np.float32], mean: Sequence[float], std: Sequence[float]) -> NDArray[np.float32]:
    shape = (1, len(mean), 1, 1)
    return (pixels - np.array(mean, np.float32).reshape(shape)) / np.array(std, np.float32).reshape(shape)
