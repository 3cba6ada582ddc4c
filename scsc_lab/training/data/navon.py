"""``navon``: Navon's hierarchical figures (Cognitive Psychology 9, 1977), a large letter made of small letters.

Each image has two labels, the large (global) and the small (local) letter, ten of each: a network needs a large field
for the one without losing detail for the other. 64×64 grey pixels on three channels, drawn from the seed.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from scsc_lab.training.data import Data, Image, InMemory, Task
from scsc_lab.training.draws import Purpose, generator

SIDE = 64
"""Height and width of an image, in pixels."""

TRAIN_IMAGES, TEST_IMAGES = 2000, 1000
"""Images drawn unless told otherwise."""

_GLYPHS = {
    "A": "01110 10001 10001 11111 10001 10001 10001",
    "E": "11111 10000 10000 11110 10000 10000 11111",
    "F": "11111 10000 10000 11110 10000 10000 10000",
    "H": "10001 10001 10001 11111 10001 10001 10001",
    "L": "10000 10000 10000 10000 10000 10000 11111",
    "N": "10001 11001 11001 10101 10011 10011 10001",
    "S": "01111 10000 10000 01110 00001 00001 11110",
    "T": "11111 00100 00100 00100 00100 00100 00100",
    "X": "10001 10001 01010 00100 01010 10001 10001",
    "Z": "11111 00001 00010 00100 01000 10000 11111",
}
"""The letters, on the 5×7 grid of dot-matrix displays: the large ones are made of small ones on the same grid."""

LETTERS = tuple(_GLYPHS)
_ROWS, _COLUMNS = 7, 5
_PITCH = 8
"""Distance of the rows and columns of small letters, in pixels; small letters are 5×7 pixels."""

GRID = 4
"""The large letter's place is a multiple of this many pixels."""

DROPPED = (0.1, 0.3)
"""Share of the small letters that are missing, drawn from this range: the large letter is broken."""

HIDDEN = 0.3
"""Share of images in which one or two neighbouring rows or columns of small letters are missing: it is partial."""

CLUTTER = (2, 8)
"""Other letters strewn anywhere, at least and at most: each of its own class."""

CONTRAST = (0.4, 0.6)
"""Difference of a letter and what is behind it, drawn from this range; black to white is 1."""

NOISE = (0.05, 0.15)
"""Deviation of the noise of each pixel, drawn from this range; black to white is 1."""


@dataclass(frozen=True)
class Look:
    """Settings that make an image harder and keep its letters.

    Attributes:
        height: height of the small letters, in pixels, up to the pitch of 8; 7 in training.
        noise: deviation of each pixel's noise; None: drawn from :data:`NOISE`, as in training.
    """

    height: int = _ROWS
    noise: float | None = None


USUAL = Look()
"""The look of training and test images."""


@functools.lru_cache(maxsize=2)
def load(seed: int, train_images: int = 0, test_images: int = 0) -> Data:
    """Return the data set of a seed: other seeds have other images, in training and in the test.

    Args:
        seed: what the images are drawn from.
        train_images: images to learn from; 0: 2,000.
        test_images: images to be judged on; 0: 1,000.
    """
    train = _split(seed, Purpose.TRAIN_IMAGE, train_images or TRAIN_IMAGES)
    test = _split(seed, Purpose.TEST_IMAGE, test_images or TEST_IMAGES)
    tasks = (Task("global", LETTERS), Task("local", LETTERS))
    return Data("navon", tasks, train, test, (SIDE, SIDE), mean=(0.5,) * 3, std=(0.25,) * 3)


def test_images(seed: int, images: int, look: Look) -> InMemory:
    """Return the first test images of a seed, drawn with another look: letters, places and clutter stay the same."""
    return _split(seed, Purpose.TEST_IMAGE, images, look)


def draw(random: np.random.Generator, look: Look = USUAL) -> tuple[Image, tuple[int, int]]:
    """Return one image, ``(3, 64, 64)``, and its global and its local letter.

    Args:
        random: what draws; it draws the same numbers whatever the look.
        look: size of the small letters, and noise.
    """
    large, small = (int(letter) for letter in random.integers(len(LETTERS), size=2))
    ink = np.zeros((SIDE, SIDE), dtype=np.float32)
    clutter = random.integers(CLUTTER[0], CLUTTER[1] + 1)
    for letter in random.integers(len(LETTERS), size=clutter):
        y, x = random.integers(0, (SIDE - _ROWS, SIDE - _COLUMNS))
        _place(ink, random, int(letter), y, x, look.height)
    rows, columns = (SIDE - _PITCH * letters for letters in (_ROWS, _COLUMNS))
    top, left = GRID * random.integers(0, (rows // GRID + 1, columns // GRID + 1))
    for row, column in np.argwhere(_broken(random, glyph(large))):
        _place(ink, random, small, top + _PITCH * row, left + _PITCH * column, look.height)
    light = random.uniform(0.1, 0.4) + random.uniform(-0.1, 0.1) * np.linspace(-1, 1, SIDE, dtype=np.float32)
    contrast = random.uniform(*CONTRAST)
    deviation = random.uniform(*NOISE)
    deviation = deviation if look.noise is None else look.noise
    noise = deviation * random.standard_normal((SIDE, SIDE), dtype=np.float32)
    shades = 255 * (light + contrast * ink + noise)
    image = np.clip(shades, 0, 255).astype(np.uint8)
    return np.broadcast_to(image, (3, SIDE, SIDE)), (large, small)


@functools.cache
def glyph(letter: int) -> npt.NDArray[np.bool_]:
    """Return a letter on its grid, ``(7, 5)``."""
    return np.array([[dot == "1" for dot in row] for row in _GLYPHS[LETTERS[letter]].split()])


def _broken(random: np.random.Generator, letter: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    visible = letter & (random.random(letter.shape) >= random.uniform(*DROPPED))
    if random.random() < HIDDEN:
        lines = visible if random.random() < 0.5 else visible.T
        first = int(random.integers(len(lines)))
        lines[first : first + int(random.integers(1, 3))] = False
    return visible


def _place(ink: npt.NDArray[np.float32], random: np.random.Generator, letter: int, y: int, x: int, height: int) -> None:
    """Write a small letter over the image, in a strength of its own, centred where one of 5×7 pixels would be."""
    shape = _scaled(letter, height)
    y, x = max(y + (_ROWS - shape.shape[0]) // 2, 0), max(x + (_COLUMNS - shape.shape[1]) // 2, 0)
    target = ink[y : y + shape.shape[0], x : x + shape.shape[1]]
    target[:] = (shape * random.uniform(0.6, 1.0))[: target.shape[0], : target.shape[1]]


@functools.cache
def _scaled(letter: int, height: int) -> npt.NDArray[np.float64]:
    """Return a small letter of another height, in shares of ink; each pixel is the mean of the area under it."""
    size = (max(round(height * _COLUMNS / _ROWS), 1), height)
    picture = Pillow.fromarray(glyph(letter).astype(np.float32))
    return np.asarray(picture.resize(size, Pillow.Resampling.BOX), dtype=np.float64)


def _split(seed: int, purpose: Purpose, images: int, look: Look = USUAL) -> InMemory:
    return InMemory.of([draw(generator(seed, purpose, index=index), look) for index in range(images)])
