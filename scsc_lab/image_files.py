"""Image files: which files of a folder are images, and their pixels. One reader for every command.

The suffix decides the decoder, EXIF rotation is applied, grey of 16 and 32 bits is scaled to 8 bits; transparency is
dropped, or a colour is put behind it.
"""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from scsc_lab.errors import InputError, first_line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image, Resampling

FORMATS: Mapping[str, tuple[str, ...]] = {
    ".bmp": ("BMP", "DIB"),
    ".gif": ("GIF",),
    ".jpeg": ("JPEG",),
    ".jpg": ("JPEG",),
    ".pgm": ("PPM",),
    ".png": ("PNG",),
    ".ppm": ("PPM",),
    ".tif": ("TIFF",),
    ".tiff": ("TIFF",),
    ".webp": ("WEBP",),
}
"""Pillow's decoders of each suffix, in lower case. None of them starts a program."""

SUFFIXES = tuple(FORMATS)
"""Suffixes of files that count as images, in lower case."""

MOST_PIXELS = 178_956_970
"""Pixels of the largest image that is decoded: Pillow's bound."""

_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262
"""Numbers of two tags of TIFF."""

_ALL_FORMATS = tuple(dict.fromkeys(name for names in FORMATS.values() for name in names))


class UnreadableError(InputError):
    """A file that cannot be decoded. The message names it."""


class UnknownRangeError(InputError):
    """An image whose numbers for black and white are unknown. The message names it."""


@dataclass(frozen=True)
class Listing:
    """Files below a folder.

    Attributes:
        images: the image files, sorted.
        left_out: number of files left out, by suffix or by another reason.
    """

    images: tuple[Path, ...]
    left_out: Mapping[str, int]


def suffix_of(path: Path) -> str:
    """Return how a file that is left out is counted."""
    return path.suffix.lower() or "without suffix"


def list_images(folder: Path) -> Listing:
    """Return the image files below a folder, at any depth.

    Links to files and folders are followed; a file or folder reached twice counts once. Hidden files and folders, whose
    names begin with a dot, are left out.

    Raises:
        InputError: if a folder cannot be read.
    """
    images: list[Path] = []
    left_out: Counter[str] = Counter()
    visited = {os.path.realpath(folder)}

    def is_new(path: str) -> bool:
        real = os.path.realpath(path)
        if real in visited:
            left_out["linked twice"] += 1
            return False
        visited.add(real)
        return True

    for place, folders, files in os.walk(folder, followlinks=True, onerror=_refuse_folder):
        left_out["hidden"] += sum(name.startswith(".") for name in (*folders, *files))
        folders[:] = sorted(name for name in folders if not name.startswith(".") and is_new(os.path.join(place, name)))
        for name in sorted(name for name in files if not name.startswith(".")):
            path = Path(place, name)
            if not path.is_file():
                left_out["broken links" if path.is_symlink() else "no plain files"] += 1
            elif path.suffix.lower() not in FORMATS:
                left_out[suffix_of(path)] += 1
            elif is_new(str(path)):
                images.append(path)
    return Listing(tuple(sorted(images)), +left_out)


def counted(left_out: Mapping[str, int]) -> str:
    """Return the numbers of files left out, ``1 .txt, 2 hidden``."""
    return ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items()))


def describe_left_out(left_out: Mapping[str, int]) -> tuple[str, ...]:
    """Return a note on the files left out, or nothing."""
    return (f"files left out: {counted(left_out)}",) if left_out else ()


def decode(source: Path | bytes, mode: str = "RGB", name: str = "", background: str = "") -> Image:
    """Return an image in ``L``, ``RGB`` or ``RGBA``, upright.

    Args:
        source: a file, whose suffix decides the decoder, or the content of one, whose first bytes decide it.
        mode: Pillow's name of the channels.
        name: the image's name in errors. Default: the file's path.
        background: colour behind transparent pixels. Default: transparency is dropped.

    Raises:
        UnreadableError: if the file is missing, damaged, too large or of another format than its suffix says.
        UnknownRangeError: if its pixels are integers of 32 bits or floating-point numbers of no known range.
    """
    from PIL import Image, UnidentifiedImageError

    name = name or str(source)
    formats = _ALL_FORMATS if isinstance(source, bytes) else FORMATS.get(source.suffix.lower(), ())
    if isinstance(source, Path) and not source.is_file():
        raise UnreadableError(f"{name} is not a file")
    if not formats:
        raise UnreadableError(f"{name} is not an image file ({', '.join(SUFFIXES)})")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, about oddities in files; the bound on pixels is an error below
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=formats) as picture:
                if picture.width * picture.height > MOST_PIXELS:
                    raise Image.DecompressionBombError
                picture.load()
                upright = _with_8_bits(picture, name)
                if background and upright.mode in ("LA", "RGBA"):
                    behind = Image.new("RGBA", upright.size, background)
                    upright = Image.alpha_composite(behind, upright.convert("RGBA"))
                return upright.convert(mode)
    except (InputError, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise UnreadableError(f"{name} has more than {MOST_PIXELS:,} pixels") from None
    except UnidentifiedImageError:
        raise UnreadableError(f"{name} is not {_kind(source)}") from None
    except Exception as error:  # a decoder raises whatever damaged bytes lead it to
        raise UnreadableError(f"{name} cannot be decoded: {first_line(error)}") from None


def read(source: Path | bytes, mode: str = "RGB", name: str = "", background: str = "") -> NDArray[np.uint8]:
    """Return the pixels of an image, ``(C, H, W)``, 0 to 255; see :func:`decode`."""
    import numpy as np

    pixels = np.asarray(decode(source, mode, name, background))
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def centre(
    picture: Image, size: tuple[int, int], share: float, resampling: Resampling, *, squashed: bool = False
) -> Image:
    """Return the centre of an image at a size, as if the image were resized and then cropped.

    Only the centre is resized, so that a long image takes no memory beyond its own.

    Args:
        picture: the image.
        size: height and width of the result, in pixels.
        share: side of the result over the shorter side of the resized image.
        resampling: Pillow's filter.
        squashed: whether the image is resized to the shape of the result, whatever its own.
    """
    height, width = size
    down, across = height / picture.height, width / picture.width
    down, across = (down, across) if squashed else (max(down, across),) * 2
    resized_width, resized_height = (
        max(round(picture.width * across / share), width),
        max(round(picture.height * down / share), height),
    )
    left, top = (resized_width - width) // 2, (resized_height - height) // 2
    x, y = picture.width / resized_width, picture.height / resized_height
    right, bottom = min((left + width) * x, picture.width), min((top + height) * y, picture.height)
    return picture.resize((width, height), resampling, (left * x, top * y, right, bottom))


def _with_8_bits(picture: Image, name: str) -> Image:
    """Return an upright image in a mode that Pillow converts without loss of range or a change of colour."""
    import numpy as np
    from PIL import Image, ImageOps

    white, tags = _white(picture, name), getattr(picture, "tag_v2", {})
    with contextlib.suppress(Exception):  # EXIF data may hold any bytes; the pixels are good
        picture = ImageOps.exif_transpose(picture)
    if white:
        values = np.asarray(picture, dtype=np.float64) * (255 / white)
        values = 255 - values if tags.get(_PHOTOMETRIC) == 0 else values  # a TIFF in which 0 is white
        return Image.fromarray(np.rint(values).astype(np.uint8))
    if picture.mode == "P" and "transparency" in picture.info:
        return picture.convert("RGBA")
    plain_mode = {"La": "LA", "RGBa": "RGBA"}.get(picture.mode)  # colours multiplied by their transparency
    return picture.convert(plain_mode) if plain_mode else picture


def _white(picture: Image, name: str) -> float | None:
    """Return the number that is white in grey of more than 8 bits, or None for other images.

    Floating-point numbers go from 0 to 1. Integers of 32 bits are 16-bit grey in a wider type, as Pillow has it; where
    the largest is at most 255, they could be 8-bit grey as well.

    Raises:
        UnknownRangeError: if the range of numbers of 32 bits is another one.
    """
    import numpy as np

    if picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format in ("PNG", "PPM")):
        bits = getattr(picture, "tag_v2", {}).get(_BITS_PER_SAMPLE, (16,))[0]
        return float(2 ** int(bits) - 1)
    if picture.mode not in ("I", "F"):
        return None
    values = np.asarray(picture)
    lowest, highest = float(values.min()), float(values.max())
    kind, range_text, white = "floating-point numbers", "from 0 to 1", 1.0
    if picture.mode == "I":
        kind, range_text, white = "integers of 32 bits", "with a largest one of 256 to 65,535", 65535.0
    if lowest >= 0 and (white / 257 < highest <= white or highest == 0):
        return white
    raise UnknownRangeError(
        f"{name} holds {kind} from {lowest:g} to {highest:g}; black and white are known for those {range_text}: save "
        "it with 8 or 16 bits"
    )


def _kind(source: Path | bytes) -> str:
    """Return the kind of file that an image is not, and the kind that it is instead if its first bytes say so."""
    from PIL import Image

    if isinstance(source, bytes):
        return "an image"
    promised = FORMATS[source.suffix.lower()][0]
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(source, formats=_ALL_FORMATS) as picture:
            return f"a {promised} file but a {picture.format} file: give it the suffix of its format"
    except Exception:  # as in decode
        return f"a {promised} file"


def _refuse_folder(error: OSError) -> NoReturn:
    raise InputError(f"cannot read {error.filename}: {error.strerror}")
