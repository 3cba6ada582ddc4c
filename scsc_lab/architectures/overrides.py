"""Changes to a spec, ``key=value``: typed and checked against its dataclass, so that a mistyped ablation is an error.

A key is a field of the network's spec (``depths``), a field of its SCSC modules in every stage (``kernels``), or of one
stage (``stage1.kernels``).
"""

from __future__ import annotations

import dataclasses
import re
import types
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from scsc_lab.architectures.specs import NetworkSpec, SCSCSpec, TransplantSpec
from scsc_lab.errors import InputError, nearest

Spec = TypeVar("Spec", bound=NetworkSpec)

_STAGE_KEY = re.compile(r"stage(\d+)\.(\w+)")
_BOOLEANS = {"true": True, "on": True, "yes": True, "1": True, "false": False, "off": False, "no": False, "0": False}
_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}


def parse(assignments: Iterable[str], option: str = "--set") -> dict[str, str]:
    """Split ``key=value`` texts, as ``--set`` takes them, into a dictionary.

    Raises:
        InputError: if a text has no ``=``, no key, or a key comes twice.
    """
    changes: dict[str, str] = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals or not key:
            raise InputError(f"{option} {text!r}: write key=value, e.g. {option} kernels=3,5,7")
        if key in changes:
            raise InputError(f"{option} {key} is given twice")
        changes[key] = value.strip()
    return changes


def apply(spec: Spec, changes: Mapping[str, object]) -> Spec:
    """Return ``spec`` with ``changes`` made.

    Args:
        spec: the network to change.
        changes: values by key; texts are parsed to the field's type (``"3,5,7"``), other values are checked against it.

    Raises:
        InputError: if a key does not exist, or a value has the wrong type or breaks a rule of the spec.
    """
    own = _fields(type(spec))
    network = {key: _typed(key, value, own[key]) for key, value in changes.items() if key in own}
    modules = {key: value for key, value in changes.items() if key not in own}
    if "scsc_stages" not in network and not spec.scsc_stages and modules:
        _reject(next(iter(modules)), own, "this network has no SCSC module; ")
    scsc = list(spec.scsc)
    for key, value in sorted(modules.items(), key=lambda change: "." in change[0]):  # one stage's own word comes last
        stages, field, kind = _scsc_field(spec, key, own)
        typed = _typed(key, value, kind)
        for stage in stages:
            scsc[stage] = dataclasses.replace(scsc[stage], **{field: typed})
    return dataclasses.replace(spec, **network, scsc=tuple(scsc))


def transplant(assignments: Mapping[str, object]) -> TransplantSpec:
    """Return the rules of a transplant with changes made, typed and checked.

    Raises:
        InputError: if a key does not exist or a value is wrong.
    """
    hints = get_type_hints(TransplantSpec)
    for key in assignments:
        if key not in hints:
            raise InputError(f"unknown key {key!r}{nearest(key, hints)} (keys: {', '.join(hints)})")
    return TransplantSpec(**{key: _typed(key, value, hints[key]) for key, value in assignments.items()})


def applicable(spec: NetworkSpec, changes: Mapping[str, object]) -> dict[str, object]:
    """Return the changes whose keys this spec has, in their order."""
    known = set(keys(spec, with_scsc=bool(spec.scsc_stages) or "scsc_stages" in changes))
    return {key: value for key, value in changes.items() if key in known}


def keys(spec: NetworkSpec, *, with_scsc: bool | None = None) -> list[str]:
    """Return every key that can be set on ``spec``, its SCSC modules' and its stages' included."""
    if with_scsc is None:
        with_scsc = bool(spec.scsc_stages)
    names = list(_fields(type(spec)))
    if with_scsc:
        fields = list(_fields(SCSCSpec))
        names += fields + [f"stage{stage}.{field}" for stage in range(1, len(spec.scsc) + 1) for field in fields]
    return names


def label(name: str, changes: Mapping[str, object]) -> str:
    """Return the name of a changed network, e.g. ``scsc_swin_tiny[groups=8 shuffle=false]``; a catalog name again."""
    if not changes:
        return name
    return f"{name}[{' '.join(f'{key}={text(value)}' for key, value in changes.items())}]"


def text(value: object) -> str:
    """Return a value as ``--set`` writes it: ``3,5,7``, ``false``."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, list)):
        return ",".join(map(text, value))
    return str(value)


def _fields(spec_type: type[Any]) -> dict[str, Any]:
    hints = get_type_hints(spec_type)
    return {field.name: hints[field.name] for field in dataclasses.fields(spec_type) if field.name != "scsc"}


def _scsc_field(spec: NetworkSpec, key: str, own: Mapping[str, Any]) -> tuple[Iterable[int], str, Any]:
    fields = _fields(SCSCSpec)
    stages: Iterable[int] = range(len(spec.scsc))
    field = key
    if match := _STAGE_KEY.fullmatch(key):
        stage, field = int(match[1]), match[2]
        if not 1 <= stage <= len(spec.scsc):
            raise InputError(f"unknown key {key!r}: stages go from stage1 to stage{len(spec.scsc)}")
        stages = [stage - 1]
    if field not in fields:
        _reject(key, {**own, **fields}, "")
    return stages, field, fields[field]


def _reject(key: str, known: Mapping[str, Any], why: str) -> None:
    listed = ", ".join(known)
    raise InputError(f"unknown key {key!r}{nearest(key, known)} ({why}keys: {listed}; or stage1.kernels for one stage)")


def _typed(key: str, value: object, kind: Any) -> Any:
    parsed = _from_text(key, value.strip(), kind) if isinstance(value, str) else _from_value(key, value, kind)
    if isinstance(parsed, float) and parsed != parsed:
        raise InputError(f"{key}={value}: not a number")
    return parsed


def _from_text(key: str, value: str, kind: Any) -> Any:
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        parts = [part.strip() for part in value.split(",")] if value else []
        return tuple(_from_text(key, part, item) for part in parts)
    if get_origin(kind) is Literal:
        return _choice(key, value, get_args(kind))
    try:
        return _BOOLEANS[value.lower()] if kind is bool else kind(value)
    except (ValueError, KeyError):
        raise InputError(f"{key}={value!r}: {_KINDS[kind]} is needed") from None


def _from_value(key: str, value: object, kind: Any) -> Any:
    if get_origin(kind) is tuple:
        if not isinstance(value, (tuple, list)):
            raise InputError(f"{key}={value!r}: a tuple is needed, one entry a stage or kernel")
        return tuple(_from_value(key, item, get_args(kind)[0]) for item in value)
    if get_origin(kind) is Literal:
        return _choice(key, value, get_args(kind))
    if isinstance(kind, types.GenericAlias) or not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        raise InputError(f"{key}={value!r}: {_KINDS.get(kind, str(kind))} is needed")
    return value


def _choice(key: str, value: object, choices: tuple[Any, ...]) -> Any:
    if value not in choices:
        raise InputError(f"{key}={value}: one of {', '.join(map(str, choices))}")
    return value
