"""Networks of the Python interface, and whose weights a network has."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from scsc_lab.errors import InputError
from scsc_lab.models import build as building
from scsc_lab.models import checkpoints, resizing
from scsc_lab.networks.network import Network
from scsc_lab.networks.values import of_python
from scsc_lab.settings.declaration import with_settings
from scsc_lab.units import one_line

Model = str | nn.Module | Callable[..., nn.Module] | Network
Resolution = int | tuple[int, int] | None


@with_settings()
def network(
    model: Model,
    resolution: Resolution = None,
    *,
    channels: int | None = None,
    inputs: Any = None,
    weights: str | Path | None = None,
    resize_weights: bool = False,
    label: str = "",
    **changes: object,
) -> Network:
    """Return a network as data, to be measured, compared, ablated or stored; every function here accepts it.

    Args:
        model: a name of the catalog or from elsewhere, a whole text form, a module, which is left as it is, or a
            function or class that makes one; it is called with the changes, and again for each initialisation.
        resolution: input side, or height and width, in pixels. Default: its own.
        channels: input channels of a network outside the catalog. Default: its own.
        inputs: its input tensors, if they are not one image: a shape, a tensor (its shape and type), or a text such as
            ``"int64:1x77"``; several in a list, or a mapping by name.
        weights: checkpoint of a named network.
        resize_weights: make weights of another input size, window or number of classes fit, as timm does.
        label: its name in tables and figures. Default: its text form.
        changes: changes to a named network's spec, or arguments of its factory; those with the name of an argument of
            this function go into the text form, as in ``net.py:Net[channels=1]``.

    Raises:
        InputError: if the name or a change is wrong.
    """
    if isinstance(model, Network):
        base = model.changed(changes) if changes else model
    elif isinstance(model, nn.Module):
        if weights is not None:
            raise InputError("weights are for named networks; a module is measured as it is")
        base = Network(type(model).__name__, module=model).changed(changes)
    elif isinstance(model, str):
        base = Network.of(model, changes)
    elif callable(model):
        factory = Network(getattr(model, "__name__", type(model).__name__), factory=model)
        base = factory.changed(changes)
    else:
        text = one_line(f"{model!r:.100}")
        raise InputError(f"model {text}: a name, a module, a function or class that makes one, or a network")
    return replace(
        base,
        resolution=_size(resolution) or base.resolution,
        channels=channels or base.channels,
        inputs=base.inputs if inputs is None else of_python(inputs),
        weights=base.weights if weights is None else str(weights),
        resize_weights=resize_weights or base.resize_weights,
        label=label or base.label,
    )


@with_settings()
def build(name: str, weights: str | Path | None = None, **changes: object) -> nn.Module:
    """Return a network of the catalog in evaluation mode.

    Args:
        name: name or alias, e.g. ``scsc_swin_tiny``.
        weights: checkpoint to load; without one the weights are random, from torch's global generator.
        changes: changes to its spec, as ``--set`` takes them, e.g. ``kernels=(3, 5, 7)``.

    Raises:
        InputError: if the name or a change is wrong, or the file holds other weights.
    """
    if not isinstance(name, str):
        raise InputError(f"name {name!r}: the name of a network, such as 'resnet50'")
    base = Network.of(name, changes)
    return building.build(base if weights is None else replace(base, weights=str(weights)))


def side_by_side(
    models: Sequence[Model], resolution: Resolution, channels: int | None, baseline: int, inputs: Any = None
) -> list[Network]:
    """Return several models as networks; modules of one class get a number each behind their name.

    Raises:
        InputError: if there are none, one is wrong, or the baseline is not the position of one.
    """
    if not models:
        raise InputError("name at least one model, or give a module")
    if not (type(baseline) is int and 0 <= baseline < len(models)):
        raise InputError(f"baseline {baseline!r}: one of the {len(models)} models, from 0")
    networks = [network(model, resolution, channels=channels, inputs=inputs) for model in models]
    names = [str(network) for network in networks]
    labelled = []
    for index, (network_, name) in enumerate(zip(networks, names, strict=True)):
        repeated = not network_.is_named and names.count(name) > 1
        label = f"{name} {names[: index + 1].count(name)}"
        labelled.append(replace(network_, label=label) if repeated else network_)
    return labelled


def _size(resolution: Resolution) -> tuple[int, int] | None:
    if resolution is None:
        return None
    sides = tuple(resolution) if isinstance(resolution, Iterable) else (resolution, resolution)
    if len(sides) != 2 or not all(isinstance(side, Integral) and side > 0 for side in sides):
        raise InputError(f"resolution={resolution!r}: a side, or height and width; a whole shape is input_shape")
    return int(sides[0]), int(sides[1])


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
        whose = _drawn(network, building.state(network))
    has_new_parts = network.transplant is not None or (network.resize_weights and _fitted(network).has_random)
    return "mixed" if has_new_parts and whose != "random" else whose


def notes_on_weights(network: Network) -> list[str]:
    """Return one note per change that makes the weights of a network with ``resize_weights`` fit.

    Raises:
        InputError: as :func:`scsc_lab.models.build.build`.
    """
    return [f"{network}: {note}." for note in _fitted(network).notes]


def _fitted(network: Network) -> resizing.Fitted:
    model = building.empty(replace(network, transplant=None, form="ordinary"))
    return checkpoints.fitted(model, Path(network.weights), resize=True)


@functools.lru_cache(maxsize=256)
def _drawn(network: Network, state: Hashable) -> Whose:
    plain = replace(network, transplant=None, form="ordinary", weights="", resize_weights=False, label="")
    first, second = ({**dict(building.build(plain, seed).named_parameters())} for seed in (0, 1))
    varying = [name for name, value in first.items() if value.numel() > 1 and bool((value != value.flatten()[0]).any())]
    equal = [name for name in varying if torch.equal(first[name], second[name])]
    return "random" if not equal else "own" if len(equal) == len(varying) else "mixed"
