"""The data sets by their names: ``navon``, ``faces``, ``imagefolder:DIR``, ``hf:NAME_OR_PATH``."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from scsc_lab.errors import InputError, nearest
from scsc_lab.training.data import Data, faces, folders, hub, navon

DRAWN: Mapping[str, Callable[[int, int, int], Data]] = {"navon": navon.load, "faces": faces.load}
"""Data sets drawn from the seed, by name."""

READ: Mapping[str, Callable[..., Data]] = {"imagefolder": folders.load, "hf": hub.load}
"""Data sets read from somewhere, by what stands before the colon."""


def load(
    name: str,
    seed: int,
    *,
    train_images: int = 0,
    test_images: int = 0,
    split: float = 0.0,
    skip_unreadable: bool = False,
) -> Data:
    """Return a data set.

    Args:
        name: a name of :data:`DRAWN`, or one of :data:`READ`, a colon and where it is.
        seed: what images, splits and choices are drawn from.
        train_images: images to learn from; 0: the data's own number. Of read data a stratified choice.
        test_images: images to be judged on, likewise.
        split: for data without splits of its own, the share of images that is the test, stratified; 0: it has them.
        skip_unreadable: go on without the files that cannot be read.

    Raises:
        InputError: if there is no such data set, or it has not what is asked for.
    """
    kind, colon, where = name.partition(":")
    if not colon and kind in DRAWN:
        return DRAWN[kind](seed, train_images, test_images)
    if kind in READ and where:
        return READ[kind](
            where,
            seed,
            train_images=train_images,
            test_images=test_images,
            split=split,
            skip_unreadable=skip_unreadable,
        )
    known = [*DRAWN, *(f"{kind}:…" for kind in READ)]
    raise InputError(f"unknown data {name!r}{nearest(name, known)} (there are {', '.join(known)})")
