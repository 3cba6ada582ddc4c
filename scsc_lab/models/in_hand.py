"""Networks as Python has them in hand: names, modules and networks, with a resolution, weights and a label."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from numbers import Integral
from pathlib import Path

from torch import nn

from scsc_lab.architectures.network import Network
from scsc_lab.errors import InputError
from scsc_lab.settings.arguments import takes

Model = str | nn.Module | Network
Resolution = int | tuple[int, int] | None


@takes()
def network(
    model: Model,
    resolution: Resolution = None,
    *,
    channels: int | None = None,
    weights: str | Path | None = None,
    label: str = "",
    **changes: object,
) -> Network:
    """Return a network as data: what is measured, compared, ablated and kept; every function here takes it.

    Args:
        model: a name of the catalog or from elsewhere, a whole text form, or a module in hand, which is left as it is.
        resolution: input side, or height and width, in pixels. Default: its own.
        channels: input channels of a network that is not of the catalog. Default: its own.
        weights: checkpoint of a named network.
        label: what tables and figures call it. Default: its text form.
        changes: changes to a named network's spec, or arguments of its factory; those that are called like an argument
            of this function go into the text form, as in ``net.py:Net[channels=1]``.

    Raises:
        InputError: if the name or a change is wrong.
    """
    if isinstance(model, Network):
        found = model.changed(changes) if changes else model
    elif isinstance(model, nn.Module):
        if weights is not None:
            raise InputError("weights are for named networks; a module is measured as it is")
        found = Network(type(model).__name__, module=model).changed(changes)
    elif isinstance(model, str):
        found = Network.of(model, changes)
    else:
        raise InputError(f"model {model!r}: a name, a module or a network")
    return replace(
        found,
        resolution=_size(resolution) or found.resolution,
        channels=channels or found.channels,
        weights=found.weights if weights is None else str(weights),
        label=label or found.label,
    )


def distinct(networks: Iterable[Network]) -> list[Network]:
    """Return networks with a number behind the names of modules of one class, so that each has a name of its own."""
    networks = list(networks)
    names = [str(network) for network in networks]
    labelled = []
    for index, (network, name) in enumerate(zip(networks, names, strict=True)):
        repeated = network.module is not None and names.count(name) > 1
        label = f"{name} {names[: index + 1].count(name)}"
        labelled.append(replace(network, label=label) if repeated else network)
    return labelled


def _size(resolution: Resolution) -> tuple[int, int] | None:
    if resolution is None:
        return None
    sides = tuple(resolution) if isinstance(resolution, Iterable) else (resolution, resolution)
    if len(sides) != 2 or not all(isinstance(side, Integral) and side > 0 for side in sides):
        raise InputError(f"resolution={resolution!r}: a side, or height and width; a whole shape is input_shape")
    return int(sides[0]), int(sides[1])
