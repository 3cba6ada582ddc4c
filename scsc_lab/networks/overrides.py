"""Changes to a spec, ``key=value``: typed and checked against its dataclass, so that a mistyped ablation is an error.

A key is a field of the network's spec (``depths``), a field of its SCSC modules in every stage (``kernels``), or of one
stage (``stage1.kernels``).
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, get_type_hints

from scsc_lab.errors import InputError, nearest
from scsc_lab.networks import mixers
from scsc_lab.networks.mixers import RULES, TransplantSpec
from scsc_lab.networks.specs import NetworkSpec, SCSCSpec
from scsc_lab.networks.values import typed
from scsc_lab.settings import texts

Spec = TypeVar("Spec", bound=NetworkSpec)

_STAGE_KEY = re.compile(r"stage(\d+)\.(\w+)")


def parse(assignments: Iterable[str], option: str = "--set") -> dict[str, str]:
    """Split ``key=value`` texts, as ``--set`` takes them, into a dictionary.

    Raises:
        InputError: if a text has no ``=``, no key, or a key comes twice.
    """
    return texts.by_key((texts.assignment(text, option) for text in assignments), option)


def apply(spec: Spec, changes: Mapping[str, object]) -> Spec:
    """Return ``spec`` with ``changes`` made.

    Args:
        spec: the network to change.
        changes: values by key; texts are parsed to the field's type (``"3,5,7"``), other values are checked against it.

    Raises:
        InputError: if a key does not exist, or a value has the wrong type or breaks a rule of the spec.
    """
    fields = _fields(type(spec))
    network = {key: typed(key, value, fields[key]) for key, value in changes.items() if key in fields}
    modules = {key: value for key, value in changes.items() if key not in fields}
    if "scsc_stages" not in network and not spec.scsc_stages and modules:
        _reject(next(iter(modules)), fields, "this network has no SCSC module; ")
    by_stage: dict[int, dict[str, Any]] = {}
    for key, value in sorted(modules.items(), key=lambda change: "." in change[0]):  # one stage's own word comes last
        stages, field, kind = _scsc_field(spec, key, fields)
        made = typed(key, value, kind)
        for stage in stages:
            by_stage.setdefault(stage, {})[field] = made
    scsc = [dataclasses.replace(module, **by_stage.get(stage, {})) for stage, module in enumerate(spec.scsc)]
    return dataclasses.replace(spec, **network, scsc=tuple(scsc))


def transplant(assignments: Mapping[str, object], mixer: str = "scsc") -> TransplantSpec:
    """Return the rules of a transplant with changes made, typed and checked.

    Args:
        assignments: values by key: a rule (``stages``), or a setting of the mixer (``kernels``, ``mixconv.kernels``).
            ``mixer`` is a rule too.
        mixer: the mixer, where no rule names one.

    Raises:
        InputError: if a key does not exist or a value is wrong.
    """
    mixer = mixers.find(str(assignments.get("mixer", mixer)))
    own_prefix = f"{mixers.prefix(mixer)}."
    made: dict[str, Any] = {key: value for key, value in assignments.items() if key != "mixer"}
    for key in [key for key in made if key.startswith(own_prefix)]:
        if key.removeprefix(own_prefix) in made:
            raise InputError(f"{key.removeprefix(own_prefix)} is given twice, once as {key}")
        made[key.removeprefix(own_prefix)] = made.pop(key)
    for key in made:
        if (other_mixer := key.partition(".")[0]) in mixers.names() and "." in key:
            raise InputError(f"{key!r} is a setting of {mixers.label(other_mixer)}; the mixer is {mixers.label(mixer)}")
    return TransplantSpec(mixer, **made)


def transplants(chosen: Sequence[str], assignments: Mapping[str, object]) -> list[TransplantSpec]:
    """Return the rules of a transplant for each of several mixers; a setting goes to every mixer that has it.

    Raises:
        InputError: if a mixer does not exist, a key fits none of them, or a value is wrong.
    """
    canonical = [mixers.find(name) for name in chosen]
    for key in assignments:
        if not any(accepts(mixer, key) for mixer in canonical):
            return [transplant(assignments, canonical[0])]  # says what is wrong with it
    return [transplant({k: v for k, v in assignments.items() if accepts(mixer, k)}, mixer) for mixer in canonical]


def rules(spec: TransplantSpec) -> dict[str, object]:
    """Return the rules of a transplant that are not the defaults, by key, its mixer's settings too, not its mixer.

    ``transplant(rules(spec), spec.mixer) == spec``, also with every value written as text.
    """
    default = TransplantSpec(spec.mixer)
    names = [field.name for field in dataclasses.fields(spec) if field.name not in ("mixer", "settings")]
    made = {name: getattr(spec, name) for name in names if getattr(spec, name) != getattr(default, name)}
    return {**made, **dict(spec.settings)}


def accepts(mixer: str, key: str) -> bool:
    """Return whether a key is a rule of every transplant, or a setting of this mixer."""
    settings = mixers.settings(mixer)
    bare = key.removeprefix(f"{mixers.prefix(mixer)}.")
    if bare in RULES or (settings is not None and bare in settings):
        return True
    return settings is None and "." not in bare


def applicable(spec: NetworkSpec, changes: Mapping[str, object]) -> dict[str, object]:
    """Return the changes whose keys this spec has, in their order."""
    known_keys = set(keys(spec, with_scsc=bool(spec.scsc_stages) or "scsc_stages" in changes))
    return {key: value for key, value in changes.items() if key in known_keys}


def keys(spec: NetworkSpec, *, with_scsc: bool | None = None) -> list[str]:
    """Return every key that can be set on ``spec``, its SCSC modules' and its stages' included."""
    if with_scsc is None:
        with_scsc = bool(spec.scsc_stages)
    names = list(_fields(type(spec)))
    if with_scsc:
        fields = list(_fields(SCSCSpec))
        names += fields + [f"stage{stage}.{field}" for stage in range(1, len(spec.scsc) + 1) for field in fields]
    return names


def kind(spec: NetworkSpec, key: str) -> Any:
    """Return the type of a key's values.

    Raises:
        InputError: if ``spec`` has no such key.
    """
    fields = _fields(type(spec))
    if key in fields:
        return fields[key]
    if not spec.scsc_stages:
        _reject(key, fields, "this network has no SCSC module; ")
    return _scsc_field(spec, key, fields)[2]


_hints = functools.cache(get_type_hints)


def _fields(spec_type: type[Any]) -> dict[str, Any]:
    hints = _hints(spec_type)  # type: ignore[arg-type]
    return {field.name: hints[field.name] for field in dataclasses.fields(spec_type) if field.name != "scsc"}


def _scsc_field(spec: NetworkSpec, key: str, network_fields: Mapping[str, Any]) -> tuple[Iterable[int], str, Any]:
    fields = _fields(SCSCSpec)
    stages: Iterable[int] = range(len(spec.scsc))
    field = key
    if match := _STAGE_KEY.fullmatch(key):
        stage, field = int(match[1]), match[2]
        if not 1 <= stage <= len(spec.scsc):
            raise InputError(f"unknown key {key!r}: stages go from stage1 to stage{len(spec.scsc)}")
        stages = [stage - 1]
    if field not in fields:
        _reject(key, {**network_fields, **fields}, "")
    return stages, field, fields[field]


def _reject(key: str, accepted: Mapping[str, Any], why: str) -> None:
    listed = ", ".join(accepted)
    raise InputError(
        f"unknown key {key!r}{nearest(key, accepted)} ({why}keys: {listed}; or stage1.kernels for one stage)"
    )
