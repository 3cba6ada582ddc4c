"""What an ablation varies: the variants of built-in studies and of grids, all made with ``dataclasses.replace``."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from scsc_lab.architectures import catalog
from scsc_lab.architectures import overrides as spec_changes
from scsc_lab.architectures.catalog import Network
from scsc_lab.architectures.specs import SCSCSpec
from scsc_lab.errors import InputError

LARGEST_GRID = 10_000
"""Variants that a study may have."""

_LADDER = (3, 5, 7, 9)
_GROUPS = (1, 2, 4, 8, 16)
_KERNEL_SETS = ((3, 5), (3, 5, 7), (3, 7, 11), (3, 9, 13), (5, 9, 13))
_STAGES = ((1,), (2,), (3,), (4,), (1, 2), (3, 4), (1, 2, 3), (2, 3, 4))


@dataclass(frozen=True)
class Variant:
    """One network of a study: what was changed, in words, and the network."""

    study: str
    name: str
    network: Network


def built_in(network: Network, studies: Sequence[str] = ()) -> list[Variant]:
    """Return the variants of built-in studies, all of them unless some are named.

    Raises:
        InputError: if a study does not exist, or the network has no SCSC module.
    """
    for study in studies:
        if study not in STUDIES:
            raise InputError(f"unknown study {study!r}: one of {', '.join(STUDIES)}")
    if not network.spec.scsc_stages:
        other = f"scsc_{network.entry.name}"
        hint = f"; try {other}" if other in catalog.CATALOG else ""
        raise InputError(f"{network.label} has no SCSC module to ablate{hint}")
    return [variant for study in studies or STUDIES for variant in STUDIES[study](network)]


def grid(network: Network, axes: Mapping[str, Sequence[object]]) -> list[Variant]:
    """Return the product of values as one study, the network itself first.

    Args:
        network: the network to change.
        axes: values by key, as ``--set`` takes them.

    Raises:
        InputError: if an axis is empty, a key or value is wrong, or there are more than 10,000 variants.
    """
    size = 1
    for key, values in axes.items():
        if not values:
            raise InputError(f"the grid is empty: {key} has no values")
        size *= len(values)
    if not axes:
        raise InputError("the grid is empty: give at least one --grid key=v1,v2")
    if size > LARGEST_GRID:
        raise InputError(f"the grid has {size} variants, more than {LARGEST_GRID}: take fewer values")
    points = (dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values()))
    return [_full("grid", network), *(_changed("grid", network, point) for point in points)]


def _full(study: str, network: Network) -> Variant:
    return Variant(study, "full", network)


def _changed(study: str, network: Network, changes: Mapping[str, object], name: str = "") -> Variant:
    spec = spec_changes.apply(network.spec, changes)
    words = " ".join(f"{key}={spec_changes.text(value)}" for key, value in changes.items())
    label = spec_changes.label(network.label, changes) if "[" not in network.label else f"{network.label} {words}"
    return Variant(study, name or words, replace(network, label=label, spec=spec))


def _per_stage(study: str, network: Network, name: str, edit: Callable[[SCSCSpec], SCSCSpec]) -> Variant:
    """Return the network with an edit made to the SCSC module of every stage."""
    spec = replace(network.spec, scsc=tuple(map(edit, network.spec.scsc)))
    return Variant(study, name, replace(network, label=f"{network.label} ({name})", spec=spec))


def _components(network: Network) -> list[Variant]:
    edits: dict[str, Callable[[SCSCSpec], SCSCSpec]] = {
        "no shuffle": lambda module: replace(module, shuffle=False),
        "plain sum, no gates": lambda module: replace(module, gates=False),
        "no SE": lambda module: replace(module, se=False),
        "largest kernel only": lambda module: replace(module, kernels=(max(module.kernels),)),
        "smallest kernel only": lambda module: replace(module, kernels=(min(module.kernels),)),
    }
    return [
        _full("components", network),
        *(_per_stage("components", network, name, edit) for name, edit in edits.items()),
    ]


def _over(study: str, key: str, values: Sequence[object]) -> Callable[[Network], list[Variant]]:
    """Return a study that sets one key to each value; a value the network cannot have is left out."""

    def make(network: Network) -> list[Variant]:
        found = [_full(study, network)]
        for value in values:
            try:
                found.append(_changed(study, network, {key: value}))
            except InputError:
                continue
        return found

    return make


def _stages(network: Network) -> list[Variant]:
    total = len(network.spec.depths)
    none = _changed("stages", network, {"scsc_stages": ()}, "SCSC in no stage")
    return [
        _full("stages", network),
        none,
        *(
            _changed("stages", network, {"scsc_stages": chosen}, f"SCSC in {spec_changes.text(chosen)}")
            for chosen in _STAGES
            if max(chosen) <= total and chosen != network.spec.scsc_stages
        ),
    ]


STUDIES: dict[str, Callable[[Network], list[Variant]]] = {
    "components": _components,
    "kernels": _over("kernels", "kernels", _KERNEL_SETS),
    "scales": _over("scales", "kernels", [_LADDER[:number] for number in range(1, len(_LADDER) + 1)]),
    "groups": _over("groups", "groups", _GROUPS),
    "stages": _stages,
}
"""Built-in studies: each returns its variants, the full network first."""


def parse_axes(network: Network, texts: Sequence[str]) -> dict[str, list[object]]:
    """Return the axes of ``key=v1,v2`` texts; where a value is a list itself, ``;`` stands between values.

    Raises:
        InputError: if a text has no values, or a list key does not use ``;``.
    """
    axes: dict[str, list[object]] = {}
    for key, text in spec_changes.parse(texts, "--grid").items():
        listed = isinstance(_current(network, key), tuple)
        if listed and ";" not in text and text:
            raise InputError(f"--grid {key}={text}: {key} is a list; put ; between values, e.g. {key}='3,5;3,5,7'")
        axes[key] = [part.strip() for part in text.split(";" if listed else ",") if part.strip()]
    return axes


def _current(network: Network, key: str) -> Any:
    """Return a value the key has now, to know its type; an unknown key is refused when it is applied."""
    field = key.rpartition(".")[2]
    holder: Any = network.spec if hasattr(network.spec, key) else network.spec.scsc[0] if network.spec.scsc else None
    return getattr(holder, field, None)


def resolve(name: str, changes: Mapping[str, object] | None = None) -> Network:
    """Return the network of a name; only the catalog's have a spec to ablate.

    Raises:
        InputError: if it is from elsewhere, or unknown.
    """
    if catalog.is_external(name):
        raise InputError(f"{name} has no spec to ablate; only networks of the catalog have")
    return catalog.resolve(name, changes)
