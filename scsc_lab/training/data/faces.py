"""``faces``: drawn faces for verification. An identity is a vector of geometry and tone; everything else varies.

Pose, light, expression, occlusion, background and noise are drawn anew for each image. An open set: the identities of
the test are never trained on. 64×64 pixels in colour, drawn from the seed.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from scsc_lab.training.data import Data, Image, InMemory, Task
from scsc_lab.training.draws import Purpose, generator

SIDE = 64
"""Height and width of an image, in pixels."""

TRAIN_IMAGES, TEST_IMAGES = 2000, 1000
"""Images drawn unless told otherwise."""

IMAGES_OF_ONE = 20
"""Images of one identity in training; of one in the test, half as many."""

SPREAD = 0.6
"""Difference between identities, as a share of the ranges below; smaller is harder."""

_RANGES = {
    "width": (0.50, 0.68),
    "height": (0.68, 0.86),
    "jaw": (0.75, 1.1),
    "eye_distance": (0.2, 0.34),
    "eye_level": (-0.2, -0.04),
    "eye_width": (0.08, 0.14),
    "eye_height": (0.04, 0.09),
    "brow_gap": (0.08, 0.18),
    "brow_width": (0.1, 0.2),
    "brow_tilt": (-0.3, 0.3),
    "nose_length": (0.12, 0.34),
    "nose_width": (0.04, 0.12),
    "mouth_level": (0.3, 0.5),
    "mouth_width": (0.14, 0.32),
    "lips": (0.02, 0.07),
    "hair_line": (-0.62, -0.34),
    "ears": (0.04, 0.14),
    "skin": (0.45, 0.85),
    "warmth": (0.05, 0.3),
    "hair": (0.05, 0.5),
    "iris": (0.1, 0.5),
}
"""Parameters of an identity: lengths over half the side of the image, angles in radians, tones from 0 to 1."""

_Map = npt.NDArray[np.floating[Any]]
_Y, _X = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j].astype(np.float32)
_SHARPNESS = 12.0


@functools.lru_cache(maxsize=2)
def load(seed: int, train_images: int = 0, test_images: int = 0) -> Data:
    """Return the data set of a seed: other seeds have other identities, in training and in the test.

    Args:
        seed: what identities and images are drawn from.
        train_images: images to learn from, 20 of each identity; 0: 2,000.
        test_images: images to be judged on, 10 of each identity; 0: 1,000.
    """
    train = _split(seed, Purpose.IDENTITY, Purpose.TRAIN_IMAGE, train_images or TRAIN_IMAGES, IMAGES_OF_ONE)
    test = _split(seed, Purpose.TEST_IDENTITY, Purpose.TEST_IMAGE, test_images or TEST_IMAGES, IMAGES_OF_ONE // 2)
    identities = tuple(f"identity {i + 1}" for i in range(int(train.labels.max()) + 1))
    return Data(
        "faces", (Task("", identities),), train, test, (SIDE, SIDE), mean=(0.5,) * 3, std=(0.25,) * 3, open_set=True
    )


def identity(random: np.random.Generator) -> dict[str, float]:
    """Return the vector of one identity, drawn evenly from the middle of each range."""
    shares = 0.5 + SPREAD * (random.random(len(_RANGES)) - 0.5)
    return {key: low + share * (high - low) for (key, (low, high)), share in zip(_RANGES.items(), shares, strict=True)}


def draw(face: dict[str, float], random: np.random.Generator) -> Image:
    """Return one image, ``(3, 64, 64)``, of an identity."""
    roll, scale = random.normal(0, 0.12), random.uniform(0.85, 1.1)
    yaw, pitch = random.uniform(-0.12, 0.12), random.uniform(-0.06, 0.06)
    shift_x, shift_y = random.uniform(-0.1, 0.1, size=2)
    cos, sin = np.cos(roll) / scale, np.sin(roll) / scale
    x, y = cos * (_X - shift_x) + sin * (_Y - shift_y), cos * (_Y - shift_y) - sin * (_X - shift_x)
    smile, open_eyes, open_mouth = random.uniform(-0.12, 0.2), random.uniform(0.4, 1.0), random.uniform(0, 0.05)

    tone = np.array((1.0, 1.0 - face["warmth"], 1.0 - 1.6 * face["warmth"]), dtype=np.float32)
    skin, hair = face["skin"] * tone, face["hair"] * (0.5 + 0.5 * tone)
    picture = np.empty((3, SIDE, SIDE), dtype=np.float32)
    picture[:] = random.uniform(0, 1, (3, 1, 1))
    picture += random.uniform(-0.2, 0.2, (3, 1, 1)) * _X + random.uniform(-0.2, 0.2, (3, 1, 1)) * _Y
    for side in (-1, 1):
        ear = _ellipse(x, y, side * face["width"] - yaw * 0.5, 0.0, face["ears"], 0.16)
        _paint(picture, ear, 0.9 * skin)
    narrowing = 1 - (1 - face["jaw"]) * np.clip(y, 0, 1)
    head = _soft(1 - (x / (face["width"] * narrowing)) ** 2 - (y / face["height"]) ** 2, 1.0)
    _paint(picture, head, skin)
    _paint(picture, head * _soft(face["hair_line"] + 0.3 * x * x - y, 0.1), hair)

    fx, fy = x - yaw, y - pitch  # features move over the head as it turns
    eye_y = face["eye_level"]
    for side in (-1, 1):
        eye_x = side * face["eye_distance"] * (1 - 0.8 * side * yaw)
        height = face["eye_height"] * open_eyes
        _paint(picture, _ellipse(fx, fy, eye_x, eye_y, face["eye_width"], height), np.full(3, 0.92, np.float32))
        pupil = min(face["eye_width"], face["eye_height"]) * 0.6
        _paint(picture, _ellipse(fx, fy, eye_x, eye_y, pupil, min(pupil, height)), face["iris"] * tone[::-1])
        tilted = fy - side * face["brow_tilt"] * (fx - eye_x)
        _paint(picture, _ellipse(fx, tilted, eye_x, eye_y - face["brow_gap"], face["brow_width"], 0.03), hair)
    nose = _ellipse(fx - 0.6 * yaw, fy, 0, eye_y + face["nose_length"], face["nose_width"], face["nose_length"] * 0.5)
    _paint(picture, 0.6 * nose, 0.75 * skin)
    curve = smile * (fx / face["mouth_width"]) ** 2
    lips = _ellipse(fx, fy + curve, 0, face["mouth_level"], face["mouth_width"], face["lips"] + open_mouth)
    _paint(picture, lips, skin * np.array((0.9, 0.45, 0.45), dtype=np.float32))

    light = 1 + random.uniform(-0.3, 0.3) * _X + random.uniform(-0.2, 0.2) * _Y
    picture *= random.uniform(0.65, 1.15) * light.astype(np.float32)
    if random.random() < 0.4:
        _cover(picture, random)
    picture += random.uniform(0.02, 0.1) * random.standard_normal(picture.shape, dtype=np.float32)
    image: Image = np.clip(255 * picture, 0, 255).astype(np.uint8)
    return image


def _soft(inside: _Map, size: float) -> _Map:
    """Return 1 where a function is positive and 0 where it is negative, with an edge about a pixel wide."""
    mask: _Map = np.clip(_SHARPNESS / size * inside + 0.5, 0, 1)
    return mask


def _ellipse(x: _Map, y: _Map, at_x: float, at_y: float, half_width: float, half_height: float) -> _Map:
    inside: _Map = 1 - ((x - at_x) / half_width) ** 2 - ((y - at_y) / half_height) ** 2
    return _soft(inside * min(half_width, half_height), 1.0)


def _paint(picture: _Map, mask: _Map, colour: npt.NDArray[np.float32]) -> None:
    picture += mask * (colour[:, None, None] - picture)


def _cover(picture: _Map, random: np.random.Generator) -> None:
    """Hide a rectangle, such as a hand, a scarf or a mask would."""
    height, width = random.integers(8, 24, size=2)
    top, left = random.integers(0, SIDE - height), random.integers(0, SIDE - width)
    picture[:, top : top + height, left : left + width] = random.uniform(0, 1, (3, 1, 1))


def _split(seed: int, identity_purpose: Purpose, image_purpose: Purpose, images: int, images_of_one: int) -> InMemory:
    faces = [identity(generator(seed, identity_purpose, index=i)) for i in range(-(-images // images_of_one))]
    drawn = [
        (draw(faces[index // images_of_one], generator(seed, image_purpose, index=index)), (index // images_of_one,))
        for index in range(images)
    ]
    return InMemory.of(drawn)
