"""Values of settings and of factories' arguments: typed, checked, and written as text again."""

from __future__ import annotations

import ast
import types
from typing import Any, Literal, Union, get_args, get_origin

from scsc_lab.errors import InputError, nearest

_BOOLEANS = {"true": True, "on": True, "yes": True, "1": True, "false": False, "off": False, "no": False, "0": False}
_KINDS: dict[Any, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}
_ARGUMENT_KINDS = _KINDS | dict.fromkeys((tuple, list), "values with commas between")


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


def argument(key: str, value: object, annotation: object = None, default: object = None) -> object:
    """Return the value of a factory's argument, as its annotation and its default want it.

    A single value stands for a sequence of one. Where there is no annotation the default tells what is due, but only
    a word in place of a number is refused then.

    Args:
        key: the argument.
        value: its value, or the text of it: a Python literal, a word such as ``true``, or any text.
        annotation: its type as the factory annotates it, if it does.
        default: its default, if it has one.

    Raises:
        InputError: if it is of another type.
    """
    literal = None if str(value).lower() == "none" else _literal(value) if isinstance(value, str) else value
    kinds = _annotated(annotation)
    if kinds is None:
        kind = type(default)
        if default is None or kind not in _ARGUMENT_KINDS:
            return literal
        if kind in (int, float, bool) and not isinstance(literal, str):
            return bool(literal) if kind is bool and literal in (0, 1) else literal
        kinds = (kind,)
    for kind in kinds:
        fits, converted = _converted(kind, literal, value)
        if fits:
            return converted
    due = " or ".join(_ARGUMENT_KINDS.get(kind, getattr(kind, "__name__", str(kind))) for kind in kinds)
    raise InputError(f"{key}={value}: {due} is due{'' if default is None else f' (default: {default})'}")


def _annotated(annotation: object) -> tuple[Any, ...] | None:
    """Return the types that an annotation allows, or ``None`` if it says nothing that can be checked."""
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        parts = [_annotated(part) for part in get_args(annotation)]
        return None if None in parts else tuple(kind for part in parts for kind in part or ())
    kind = origin or annotation
    return (kind,) if kind is type(None) or kind in _ARGUMENT_KINDS else None


def _converted(kind: Any, literal: object, value: object) -> tuple[bool, object]:
    """Return whether a value is of a type, and the value in it."""
    if kind is str:
        return True, value if isinstance(value, str) else literal
    if kind is bool:
        boolean = _BOOLEANS.get(str(literal).lower())
        return boolean is not None, boolean
    if kind is type(None):
        return literal is None, None
    if kind in (int, float):
        fits = isinstance(literal, int if kind is int else (int, float)) and not isinstance(literal, bool)
        return fits, kind(literal) if fits else literal
    if isinstance(literal, (tuple, list)):
        return True, kind(literal)
    return not isinstance(literal, str), kind((literal,))


def _literal(value: str) -> object:
    try:
        return _BOOLEANS[value.lower()] if value.lower() in ("true", "false") else ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value


def _frozen(key: str, value: object) -> object:
    """Return a value with lists in it as tuples: it is kept, compared and hashed."""
    if isinstance(value, (list, tuple)):
        return tuple(_frozen(key, item) for item in value)
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
        choices = {text(choice): choice for choice in get_args(kind)}
        return _choice(key, choices.get(value, value), get_args(kind))
    try:
        return _BOOLEANS[value.lower()] if kind is bool else kind(value)
    except (ValueError, KeyError):
        raise InputError(f"{key}={value!r}: {_KINDS[kind]} is needed") from None


def _from_value(key: str, value: object, kind: Any) -> Any:
    if get_origin(kind) is tuple:
        items = value if isinstance(value, (tuple, list)) else (value,)
        item = get_args(kind)[0]
        return tuple((_from_text if isinstance(entry, str) else _from_value)(key, entry, item) for entry in items)
    if get_origin(kind) is Literal:
        return _choice(key, value, get_args(kind))
    if isinstance(kind, types.GenericAlias) or not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        raise InputError(f"{key}={value!r}: {_KINDS.get(kind, str(kind))} is needed")
    return value


def _choice(key: str, value: object, choices: tuple[Any, ...]) -> Any:
    if value not in choices:
        texts = [text(choice) for choice in choices]
        raise InputError(f"{key}={value}: one of {', '.join(filter(None, texts))}{nearest(str(value), texts)}")
    return value


def space_separated(text: str) -> list[str]:
    """Return words set apart by spaces; inside brackets and quotes a space sets nothing apart."""
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in "[({":
            depth += 1
        elif letter in "])}":
            depth -= 1
        if letter.isspace() and not quote and depth <= 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part for part in parts if part]
