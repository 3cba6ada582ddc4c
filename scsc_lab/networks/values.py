"""Values of settings: texts and Python values, typed and checked against a field's type, and written as text again."""

from __future__ import annotations

import ast
import types
from typing import Any, Literal, get_args, get_origin

from scsc_lab.errors import InputError, nearest

_BOOLEANS = {"true": True, "on": True, "yes": True, "1": True, "false": False, "off": False, "no": False, "0": False}
_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}


def typed(key: str, value: object, kind: Any) -> Any:
    """Return a value in the type of its field.

    Args:
        key: the field's name, for the message.
        value: a text, which is parsed (``"3,5,7"``), or a value, which is checked; one value does for a tuple of one.
        kind: ``int``, ``float``, ``bool``, ``str``, a ``Literal``, a tuple of one of them, or ``object`` where the
            type is not known: a text is then read as a Python literal if it is one.

    Raises:
        InputError: if the value has another type.
    """
    if kind is object:
        return _frozen(key, _literal(value) if isinstance(value, str) else value)
    parsed = _from_text(key, value.strip(), kind) if isinstance(value, str) else _from_value(key, value, kind)
    if isinstance(parsed, float) and parsed != parsed:
        raise InputError(f"{key}={value}: not a number")
    return parsed


def text(value: object) -> str:
    """Return a value as ``--set`` writes it: ``3,5,7``, ``false``."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, list)):
        return ",".join(map(text, value))
    return str(value)


def _literal(value: str) -> object:
    try:
        return _BOOLEANS[value.lower()] if value.lower() in ("true", "false") else ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value


def _frozen(key: str, value: object) -> object:
    """Return a value with lists in it as tuples: it is kept, compared and hashed."""
    if isinstance(value, (list, tuple)):
        return tuple(_frozen(key, one) for one in value)
    if isinstance(value, (dict, set, bytes, complex)):
        raise InputError(f"{key}={value!r}: a number, a word, or several with commas between are needed")
    return value


def written(key: str, value: object, kind: Any = object) -> str:
    """Return a value as :func:`text` writes it, or as a Python literal where that reads back as another value."""
    plain = text(value)
    try:
        back = typed(key, plain, kind)
    except InputError:
        return plain
    return plain if (type(back), back) == (type(value), value) else repr(value)


def _from_text(key: str, value: str, kind: Any) -> Any:
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        parts = [part.strip() for part in value.split(",")] if value else []
        return tuple(_from_text(key, part, item) for part in parts)
    if get_origin(kind) is Literal:
        named = {text(choice): choice for choice in get_args(kind)}
        return _choice(key, named.get(value, value), get_args(kind))
    try:
        return _BOOLEANS[value.lower()] if kind is bool else kind(value)
    except (ValueError, KeyError):
        raise InputError(f"{key}={value!r}: {_KINDS[kind]} is needed") from None


def _from_value(key: str, value: object, kind: Any) -> Any:
    if get_origin(kind) is tuple:
        items = value if isinstance(value, (tuple, list)) else (value,)
        item = get_args(kind)[0]
        return tuple((_from_text if isinstance(one, str) else _from_value)(key, one, item) for one in items)
    if get_origin(kind) is Literal:
        return _choice(key, value, get_args(kind))
    if isinstance(kind, types.GenericAlias) or not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        raise InputError(f"{key}={value!r}: {_KINDS.get(kind, str(kind))} is needed")
    return value


def _choice(key: str, value: object, choices: tuple[Any, ...]) -> Any:
    if value not in choices:
        known = [text(choice) for choice in choices]
        raise InputError(f"{key}={value}: one of {', '.join(filter(None, known))}{nearest(str(value), known)}")
    return value
