"""Arguments of factories given as texts: what a text means, and whether it is what the factory wants."""

from __future__ import annotations

import ast
import types
import typing
from typing import Any

from scsc_lab.errors import InputError

_WORDS = {"true": True, "false": False, "none": None}
_BOOLEANS = {"true": True, "on": True, "yes": True, "1": True, "false": False, "off": False, "no": False, "0": False}
_KINDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a word",
    tuple: "values with commas between",
    list: "values with commas between",
}


def parse_value(text: object) -> object:
    """Return the value of a ``--set`` text for a factory: a Python literal, a word such as ``true``, or the text."""
    if not isinstance(text, str):
        return text
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def value(key: str, given: object, annotation: object = None, default: object = None) -> object:
    """Return the value of an argument, as its annotation and its default want it.

    A single value stands for a sequence of one. Where there is no annotation the default tells what is due, but only
    a word in place of a number is refused then.

    Args:
        key: the argument.
        given: its value, or the text of it.
        annotation: its type as the factory annotates it, if it does.
        default: its default, if it has one.

    Raises:
        InputError: if it is of another type.
    """
    found = parse_value(given)
    kinds = _kinds(annotation)
    if kinds is None:
        kind = type(default)
        if default is None or kind not in _KINDS:
            return found
        if kind in (int, float, bool) and not isinstance(found, str):
            return bool(found) if kind is bool and found in (0, 1) else found
        kinds = (kind,)
    for kind in kinds:
        fits, converted = _as(kind, found, given)
        if fits:
            return converted
    due = " or ".join(_KINDS.get(kind, getattr(kind, "__name__", str(kind))) for kind in kinds)
    usual = f" (default: {default})" if default is not None else ""
    raise InputError(f"{key}={given}: {due} is due{usual}")


def _kinds(annotation: object) -> tuple[Any, ...] | None:
    """Return the types that an annotation allows, or ``None`` if it says nothing that can be checked."""
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        parts = [_kinds(part) for part in typing.get_args(annotation)]
        return None if None in parts else tuple(kind for part in parts for kind in part or ())
    kind = origin or annotation
    if kind is type(None) or (kind is None and annotation is not None):
        return (type(None),)
    return (kind,) if kind in _KINDS else None


def _as(kind: Any, found: object, given: object) -> tuple[bool, object]:
    """Return whether a value is of a type, and the value in it."""
    if kind is str:
        return True, given if isinstance(given, str) else found
    if kind is bool:
        word = _BOOLEANS.get(str(found).lower())
        return word is not None, word
    if kind is type(None):
        return found is None, None
    if kind in (int, float):
        number = isinstance(found, (int, float)) and not isinstance(found, bool)
        whole = number and not (kind is int and isinstance(found, float))
        return whole, kind(found) if whole else found
    if isinstance(found, (tuple, list)):
        return True, kind(found)
    return not isinstance(found, str), kind((found,))
