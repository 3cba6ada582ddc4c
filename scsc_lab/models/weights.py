"""Whose weights a network has, and what is done to them so that they fit."""

from __future__ import annotations

import functools
from collections.abc import Hashable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from scsc_lab.models import build, checkpoints, resizing
from scsc_lab.networks.network import Network

Whose = Literal["random", "file", "own", "mixed"]
"""Whose weights a network has: drawn from the seed, a file's, its own code's, or some of these with new parts."""


def whose_weights(network: Network) -> Whose:
    """Return whose weights a network has.

    A factory of the user's own is built twice from different seeds: what comes out the same was not drawn.

    Raises:
        InputError: as :func:`scsc_lab.models.build.build`.
    """
    if network.weights or network.is_onnx:
        whose: Whose = "file"
    elif network.module is not None:
        whose = "own"
    elif network.in_catalog:
        whose = "random"
    else:
        whose = _drawn(network, build.state(network))
    has_new_parts = network.transplant is not None or (network.resize_weights and _fitted(network).has_random)
    return "mixed" if has_new_parts and whose != "random" else whose


def notes_on_weights(network: Network) -> list[str]:
    """Return one note per change that makes the weights of a network with ``resize_weights`` fit.

    Raises:
        InputError: as :func:`scsc_lab.models.build.build`.
    """
    return [f"{network}: {note}." for note in _fitted(network).notes]


def _fitted(network: Network) -> resizing.Fitted:
    model = build.empty(replace(network, transplant=None, form="ordinary"))
    return checkpoints.fitted(model, Path(network.weights), resize=True)


@functools.lru_cache(maxsize=256)
def _drawn(network: Network, state: Hashable) -> Whose:
    plain = replace(network, transplant=None, form="ordinary", weights="", resize_weights=False, label="")
    first, second = ({**dict(build.build(plain, seed).named_parameters())} for seed in (0, 1))
    varying = [name for name, value in first.items() if value.numel() > 1 and bool((value != value.flatten()[0]).any())]
    equal = [name for name in varying if torch.equal(first[name], second[name])]
    return "random" if not equal else "own" if len(equal) == len(varying) else "mixed"
