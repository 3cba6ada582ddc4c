"""Variants of an ablation, from built-in studies and grids; each is a network.

A key is one of ``--set`` (a field of the spec, an argument of a factory), or ``rule.`` and a rule of the transplant.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from scsc_lab.errors import InputError, nearest
from scsc_lab.networks import catalog, mixers, overrides
from scsc_lab.networks.mixers import RULES, TransplantSpec, scsc_of
from scsc_lab.networks.network import Network
from scsc_lab.networks.specs import SCSCSpec
from scsc_lab.networks.values import as_text

LARGEST_GRID = 10_000
"""Variants that a study may have."""

_LADDER = (3, 5, 7, 9)
_GROUPS = (1, 2, 4, 8, 16)
_KERNEL_SETS = ((3, 5), (3, 5, 7), (3, 7, 11), (3, 9, 13), (5, 9, 13))
_STAGES = ((1,), (2,), (3,), (4,), (1, 2), (3, 4), (1, 2, 3), (2, 3, 4))
_RULE = "rule."
_SCSC = "scsc_"


@dataclass(frozen=True)
class Variant:
    """One network of a study: its change in words, and the network."""

    study: str
    name: str
    network: Network


def built_in(network: Network, studies: Sequence[str] = (), rivals: Sequence[Network] = ()) -> list[Variant]:
    """Return the variants of built-in studies, all of SCSC's unless some are named.

    Args:
        network: any network for the study ``mixers``; for the others one with SCSC modules.
        studies: names of :data:`STUDIES`, or ``mixers``.
        rivals: the network with mixers of the user's choice, which have their place in the study ``mixers``.

    Raises:
        InputError: if a study does not exist, or the network has no SCSC module.
    """
    names = (*STUDIES, MIXERS)
    for study in studies:
        if study not in names:
            raise InputError(f"unknown study {study!r}: one of {', '.join(names)}{nearest(study, names)}")
    if set(studies) != {MIXERS} and not has_scsc(network):
        hint = "; add it with --transplant"
        if network.entry is not None and f"scsc_{network.entry.name}" in catalog.CATALOG:
            hint = f"; try scsc_{network.entry.name}, or --transplant"
        raise InputError(f"{network} has no SCSC module to ablate{hint}")
    variants: list[Variant] = []
    for study in studies or STUDIES:
        variants += _mixers(network, rivals) if study == MIXERS else STUDIES[study](network)
    return variants


def of_values(
    network: Network, factors: Mapping[str, Sequence[object]], axes: Mapping[str, Sequence[object]]
) -> list[Variant]:
    """Return the variants of a user's own values as one study: the network itself first, and no variant twice.

    Args:
        network: the network to change.
        factors: values by key, of which each variant has one.
        axes: values by key, of which each variant has one per key: all combinations.

    Raises:
        InputError: if a key has no values, a key or value is wrong, or there are more than 10,000 variants.
    """
    for key, values in {**factors, **axes}.items():
        if isinstance(values, str):
            raise InputError(f"the grid needs a list of values for {key}, e.g. [{values!r}]; {values!r} is one text")
        if not values:
            raise InputError(f"the grid is empty: {key} has no values")
    if not factors and not axes:
        raise InputError("the grid is empty: give at least one --grid key=v1,v2 or --vary key=v1,v2")
    size = sum(map(len, factors.values())) + (math.prod(map(len, axes.values())) if axes else 0)
    if size > LARGEST_GRID:
        raise InputError(f"the grid has {size} variants, more than {LARGEST_GRID}: take fewer values")
    points: list[dict[str, object]] = [{key: value} for key, values in factors.items() for value in values]
    if axes:
        points += [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    from scsc_lab.models import build

    study = "grid" if axes else "vary"
    variants: dict[object, Variant] = {}
    for variant in [_full(study, network), *(_changed(study, network, point) for point in points)]:
        changed = variant.network
        variants.setdefault((build.distinction(changed), changed.transplant), variant)
    return list(variants.values())


def parse_axes(network: Network, texts: Sequence[str], option: str = "--grid") -> dict[str, list[object]]:
    """Return the axes of ``key=v1,v2`` texts; where a value is a list itself, ``;`` stands between values.

    Raises:
        InputError: if a text has no values, or a list key does not use ``;``.
    """
    axes: dict[str, list[object]] = {}
    for key, text in overrides.parse(texts, option).items():
        listed = isinstance(_current(network, key), tuple)
        if listed and ";" not in text and text:
            raise InputError(f"{option} {key}={text}: {key} is a list; put ; between values, e.g. {key}='3,5;3,5,7'")
        axes[key] = [part.strip() for part in text.split(";" if listed or ";" in text else ",") if part.strip()]
    return axes


def has_scsc(network: Network) -> bool:
    """Return whether there is an SCSC module in a network."""
    in_spec = network.spec is not None and bool(network.spec.scsc_stages)
    return in_spec or (network.transplant is not None and network.transplant.mixer == "scsc")


def settings(network: Network) -> str:
    """Return the settings of a network's SCSC modules in words: what holds for all once, the others by stage."""
    if network.transplant is not None:
        rules = ", ".join(f"{key} {as_text(value)}" for key, value in network.transplant.settings)
        return rules or "as released"
    spec = network.spec
    if spec is None:
        return ""
    modules = {stage: spec.scsc[stage - 1] for stage in spec.scsc_stages}
    parts = []
    for key in (setting.name for setting in fields(SCSCSpec)):
        values = {stage: _in_words(key, getattr(module, key)) for stage, module in modules.items()}
        if len(set(values.values())) == 1:
            parts.append(f"{key} {next(iter(values.values()))}")
        else:
            parts.append(f"{key} " + ", ".join(f"({value}) in stage {stage}" for stage, value in values.items()))
    return "; ".join(parts)


def _in_words(key: str, value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "one over the number of kernels" if key == "reduction" and not value else as_text(value)


def _full(study: str, network: Network) -> Variant:
    return Variant(study, "full", network)


def _changed(study: str, network: Network, changes: Mapping[str, object], name: str = "") -> Variant:
    rules = {key.removeprefix(_RULE): value for key, value in changes.items() if key.startswith(_RULE)}
    changed = network.changed({key: value for key, value in changes.items() if not key.startswith(_RULE)})
    if rules:
        if network.transplant is None:
            raise InputError(f"{_RULE}{next(iter(rules))} is a rule of a transplant: add --transplant or --mixer NAME")
        present = overrides.rules(network.transplant)
        changed = replace(changed, transplant=overrides.transplant({**present, **rules}, network.transplant.mixer))
    changes_text = " ".join(f"{key}={as_text(value)}" for key, value in changes.items())
    return Variant(study, name or changes_text, changed)


def _edited(study: str, network: Network, name: str, edit: Callable[[Any], Mapping[str, object]]) -> Variant | None:
    """Return the network with an edit made to its SCSC modules, each from its own settings; none if it has none."""
    if network.transplant is not None:
        rules = edit(scsc_of(network.transplant.settings, stage=1))
        if "kernels" in rules and "kernels" not in dict(network.transplant.settings):
            return None  # the kernels of each stage are its own, and one rule goes for all
        changes = {f"{_RULE}{key}": value for key, value in rules.items()}
    else:
        assert network.spec is not None
        edits = [edit(module) for module in network.spec.scsc]
        if all(of_stage == edits[0] for of_stage in edits):
            changes = dict(edits[0])
        else:
            changes = {
                f"stage{at}.{key}": v for at, of_stage in enumerate(edits, start=1) for key, v in of_stage.items()
            }
    return _changed(study, network, changes, name) if changes else None


def _one_kernel(pick: Callable[[Sequence[int]], int]) -> Callable[[Any], Mapping[str, object]]:
    return lambda module: {"kernels": (pick(module.kernels),)} if module.kernels else {}


def _at_equal_width(edit: Callable[[Any], Mapping[str, object]]) -> Callable[[Any], Mapping[str, object]]:
    """Return an edit that keeps the reduced width, which fewer kernels would otherwise share among themselves."""
    return lambda module: {**edit(module), "reduction": module.reduction or 1 / len(module.kernels)}


def _components(network: Network) -> list[Variant]:
    edits: dict[str, Callable[[Any], Mapping[str, object]]] = {
        "no shuffle": lambda module: {"shuffle": False},
        "plain sum, no gates": lambda module: {"gates": False},
        "no squeeze-excitation": lambda module: {"se": False},
        "largest kernel only": _one_kernel(max),
        "largest, equal width": _at_equal_width(_one_kernel(max)),
        "smallest kernel only": _one_kernel(min),
        "smallest, equal width": _at_equal_width(_one_kernel(min)),
    }
    variants = (_edited("components", network, name, edit) for name, edit in edits.items())
    return [_full("components", network), *(variant for variant in variants if variant is not None)]


def _over(study: str, key: str, values: Sequence[object]) -> Callable[[Network], list[Variant]]:
    """Return a study that sets one key to each value; a value the network cannot have is left out."""

    def make(network: Network) -> list[Variant]:
        variants = [_full(study, network)]
        prefix = _RULE if network.transplant is not None else ""
        for value in values:
            try:
                label = f"{key}={as_text(value)}"
                variants.append(_changed(study, network, {f"{prefix}{key}": value}, label))
            except InputError:
                continue
        return variants

    return make


def _in_stages(stages: Sequence[int]) -> str:
    return f"SCSC in stage{'s' if len(stages) > 1 else ''} {as_text(tuple(stages))}"


def _stages(network: Network) -> list[Variant]:
    choices: Sequence[tuple[int, ...]] = _STAGES
    if network.transplant is not None:
        key, without = f"{_RULE}stages", replace(network, transplant=None)
    else:
        assert network.spec is not None
        key, without = "scsc_stages", network.changed({"scsc_stages": ()})
        present = network.spec.scsc_stages
        choices = [chosen for chosen in _STAGES if max(chosen) <= len(network.spec.depths) and chosen != present]
    variants = [_changed("stages", network, {key: chosen}, _in_stages(chosen)) for chosen in choices]
    return [_full("stages", network), Variant("stages", "SCSC in no stage", without), *variants]


def _mixers(network: Network, rivals: Sequence[Network]) -> list[Variant]:
    """Return the network with its own operators, and with each mixer in the same places; the user's own come last.

    The rules of a transplant that are no settings of its mixer hold for all.
    """
    original = replace(network, transplant=None)
    if has_scsc(original):
        hint = f"; try {original.entry.name.removeprefix(_SCSC)}" if original.entry is not None else ""
        raise InputError(f"{original} already has SCSC, and the study {MIXERS} needs the original operators{hint}")
    chosen = [each.transplant for each in (*rivals, network) if each.transplant is not None]
    specs = list(dict.fromkeys(chosen))
    shared = {key: getattr(specs[0], key) for key in RULES} if specs else {}
    variants = [Variant(MIXERS, "own operators", original)]
    for mixer in [*mixers.names(), *dict.fromkeys(spec.mixer for spec in specs if ":" in spec.mixer)]:
        for spec in [each for each in specs if each.mixer == mixer] or [TransplantSpec(mixer, **shared)]:
            settings = " ".join(f"{key}={as_text(value)}" for key, value in spec.settings)
            name = mixers.label(mixer) + (f"[{settings}]" if settings else "")
            variants.append(Variant(MIXERS, name, replace(original, label="", transplant=spec)))
    return variants


STUDIES: dict[str, Callable[[Network], list[Variant]]] = {
    "components": _components,
    "kernels": _over("kernels", "kernels", _KERNEL_SETS),
    "scales": _over("scales", "kernels", [_LADDER[:number] for number in range(1, len(_LADDER) + 1)]),
    "groups": _over("groups", "groups", _GROUPS),
    "stages": _stages,
}
"""Built-in studies of SCSC: each returns its variants, the full network first."""

MIXERS = "mixers"
"""The built-in study of any network: every mixer in place of its spatial operators, itself first."""


def _current(network: Network, key: str) -> Any:
    """Return a value the key has now, to know its type; an unknown key is refused when it is applied."""
    if key.startswith(_RULE):
        return _rule(network.transplant or TransplantSpec(), key.removeprefix(_RULE))
    spec, name = network.spec, key.rpartition(".")[2]
    if spec is None:
        return None
    holder: Any = spec if hasattr(spec, key) else spec.scsc[0] if spec.scsc else None
    return getattr(holder, name, None)


def _rule(transplant: TransplantSpec, key: str) -> Any:
    """Return the value of a rule of a transplant, or of a setting of its mixer."""
    bare = key.removeprefix(f"{mixers.prefix(transplant.mixer)}.")
    settings_known = mixers.settings(transplant.mixer) or {}
    if bare in settings_known:
        return dict(transplant.settings).get(bare, settings_known[bare].default)
    return getattr(transplant, bare, None)
