"""From an image of a split to what a network trains on: cropped, mirrored, mixed, each draw keyed by the image."""

from __future__ import annotations

import math
import random as python_random

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from scsc_lab import image_files
from scsc_lab.errors import imported
from scsc_lab.training.data import Image
from scsc_lab.training.plan import Input
from scsc_lab.training.recipes import Recipe

LEAST_AREA, MOST_AREA = 0.08, 1.0
"""Bounds of the share of an image's area that a random resized crop has."""


def centred(image: Image, preparation: Input) -> Image:
    """Return an image, ``(C, H, W)``, resized and cropped at its centre to the input's size, for evaluation."""
    if image.shape[1:] == tuple(preparation.size):
        return image
    resampling = Pillow.Resampling[preparation.interpolation.upper()]
    picture, squashed = _picture(image), preparation.is_squashed
    return _array(image_files.centre(picture, preparation.size, preparation.crop_share, resampling, squashed=squashed))


def augment(image: Image, recipe: Recipe, preparation: Input, random: np.random.Generator) -> Image:
    """Return an image, ``(C, H, W)``, at the input's size, as the recipe changes it for training."""
    resized = recipe.crop == "resized"
    image = _resized_crop(image, preparation.size, random) if resized else centred(image, preparation)
    if recipe.crop == "shift" and recipe.shift:
        margin = recipe.shift
        padded = np.pad(image, ((0, 0), (margin, margin), (margin, margin)), mode="edge")
        top, left = random.integers(0, 2 * margin + 1, size=2)
        image = padded[:, top : top + image.shape[1], left : left + image.shape[2]]
    if recipe.flip and random.random() < 0.5:
        image = image[:, :, ::-1]
    if recipe.randaugment:
        image = _randaugmented(image, recipe.randaugment, random)
    if recipe.erase and random.random() < recipe.erase:
        image = _erased(image, random)
    return image


def _resized_crop(image: Image, size: tuple[int, int], random: np.random.Generator) -> Image:
    """Return a random part of an image, resized."""
    left, top, width, height = draw_crop(image.shape[1], image.shape[2], random)
    box = (left, top, left + width, top + height)
    return _array(_picture(image).resize(size[::-1], Pillow.Resampling.BICUBIC, box=box))


def draw_crop(height: int, width: int, random: np.random.Generator) -> tuple[int, int, int, int]:
    """Return left, top, width and height of a crop, as ``RandomResizedCrop`` of ``torchvision.transforms.v2`` draws it.

    8 to 100 % of the area at a ratio of 3:4 to 4:3. If ten draws do not fit into the image: the largest part at its
    centre whose ratio is within the bounds.
    """
    least, most = 3 / 4, 4 / 3
    for _ in range(10):
        area = height * width * random.uniform(LEAST_AREA, MOST_AREA)
        ratio = math.exp(random.uniform(math.log(least), math.log(most)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            top, left = int(random.integers(height - h + 1)), int(random.integers(width - w + 1))
            return left, top, w, h
    w = min(width, max(round(height * most), 1))
    h = min(height, max(round(width / least), 1))
    return (width - w) // 2, (height - h) // 2, w, h


def _randaugmented(image: Image, policy: str, random: np.random.Generator) -> Image:
    """Apply timm's RandAugment, whose draws come from the global generators: those are set and put back."""
    timm = imported("timm.data.auto_augment", "randaugment needs timm: pip install 'scsc-lab[timm]'")
    transform = timm.rand_augment_transform(policy, {"translate_const": int(image.shape[2] * 0.45)})
    before, before_numpy = python_random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        python_random.seed(int(random.integers(2**63)))
        np.random.seed(int(random.integers(2**32)))  # noqa: NPY002
        return _array(transform(_picture(image)))
    finally:
        python_random.setstate(before)
        np.random.set_state(before_numpy)  # noqa: NPY002


def _erased(image: Image, random: np.random.Generator) -> Image:
    """Fill a rectangle of 2 to 33 % of the area with noise (random erasing, arXiv 1708.04896)."""
    height, width = image.shape[1:]
    area = height * width * random.uniform(0.02, 0.33)
    ratio = np.exp(random.uniform(np.log(0.3), np.log(1 / 0.3)))
    h, w = min(round(float(np.sqrt(area * ratio))), height), min(round(float(np.sqrt(area / ratio))), width)
    top, left = int(random.integers(height - h + 1)), int(random.integers(width - w + 1))
    image = image.copy()
    image[:, top : top + h, left : left + w] = random.integers(0, 256, (image.shape[0], h, w))
    return image


def as_grey(image: Image) -> Image:
    """Return the luminance of an image, ``(1, H, W)``, as Pillow's mode ``L`` weighs the colours."""
    return np.array(_picture(image).convert("L"))[None]


def _picture(image: Image) -> Pillow.Image:
    return Pillow.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))


def _array(picture: Pillow.Image) -> npt.NDArray[np.uint8]:
    return np.asarray(picture.convert("RGB")).transpose(2, 0, 1)
