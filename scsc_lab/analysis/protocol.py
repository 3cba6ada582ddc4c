"""How a receptive field is measured: the settings, as data that travels with every map."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

METHODS = ("linear", "replknet")
"""``linear``: the map as it is, each image normalised; ``replknet``: the published algorithm of arXiv 2203.06717."""

CONTRIBUTIONS = ("abs", "relu", "signed")
"""What becomes of a negative gradient: its absolute value, zero, or itself."""

LAYOUTS = ("nchw", "nhwc", "nlc", "ncl")
"""Orders of a feature map's axes: image, channels, height, width; ``l``: tokens, row by row."""


SHARES = (0.20, 0.30, 0.50, 0.95, 0.99)
"""Shares ``t`` of the mass for which ``r(t)`` is given."""


def key(share: float) -> str:
    """Return the key of ``r(t)``: ``r50`` for 0.5."""
    return f"r{round(100 * share)}"


@dataclass(frozen=True)
class Protocol:
    """How an effective receptive field is measured.

    Attributes:
        method: one of :data:`METHODS`.
        contribution: one of :data:`CONTRIBUTIONS`; ``replknet`` has its own, ``relu``.
        resolution: input height and width, in pixels; the network's own without.
        samples: images.
        seeds: random initialisations to average over; ``None`` for three with random weights, else one.
        seed: seed of the images drawn, of the first initialisation and of the places of units in a window.
        stages: names or numbers of stages, ``("all",)``, or none for the last.
        layers: dotted names of modules, in place of stages.
        layout: one of :data:`LAYOUTS`, where a shape does not tell.
        images: folder of images; synthetic ones without.
        batch: images in one pass; found without, and halved where memory runs out.
        device: where it runs, as :func:`scsc_lab.execution.device.find` takes it.
    """

    method: str = "linear"
    contribution: str = "abs"
    resolution: tuple[int, int] | None = None
    samples: int = 32
    seeds: int | None = None
    seed: int = 0
    stages: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    layout: str | None = None
    images: Path | None = None
    batch: int | None = None
    device: str = "cpu"
