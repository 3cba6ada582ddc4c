"""The data sets by their names: ``navon``, ``faces``, ``imagefolder:DIR``, ``csv:FILE``, ``hf:NAME_OR_PATH``."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from scsc_lab.errors import InputError, nearest
from scsc_lab.training.data import Data, faces, folders, hub, navon
from scsc_lab.training.data.reading import Request

DRAWN: Mapping[str, Callable[[int, int, int], Data]] = {"navon": navon.load, "faces": faces.load}
"""Data sets drawn from the seed, by name."""

READ: Mapping[str, Callable[[str, Request], Data]] = {
    "imagefolder": folders.load,
    "csv": folders.load_table,
    "hf": hub.load,
}
"""Data sets read from somewhere, by what stands before the colon."""


def load(name: str, request: Request) -> Data:
    """Return a data set.

    Args:
        name: a name of :data:`DRAWN`, or one of :data:`READ`, a colon and where it is.
        request: which of its images.

    Raises:
        InputError: if there is no such data set, or it has not what is asked for.
    """
    kind, colon, where = name.partition(":")
    if not colon and kind in DRAWN:
        return DRAWN[kind](request.seed, request.train_images, request.test_images)
    if kind in READ and where:
        return READ[kind](where, request)
    names = [*DRAWN, *(f"{kind}:…" for kind in READ)]
    raise InputError(f"unknown data {name!r}{nearest(name, names)} (there are {', '.join(names)})")
