"""Values given as text: settings and factories' arguments, typed and checked, and inputs other than one image."""

from __future__ import annotations

import ast
import re
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
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


def as_text(value: object) -> str:
    """Return a value as ``--set`` writes it: ``3,5,7``, ``false``."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, list)):
        return ",".join(map(as_text, value))
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
    """Return a value as :func:`as_text` writes it, or as a Python literal where that reads back as another value."""
    plain = as_text(value)
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
        choices = {as_text(choice): choice for choice in get_args(kind)}
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
        texts = [as_text(choice) for choice in choices]
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


TYPES = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
"""Element types that an input may have."""

_MOST_ELEMENTS = 2**40
_FORM = "write [NAME=][TYPE:]SHAPE, e.g. 1x3x16x112x112 or tokens=int64:1x77"


@dataclass(frozen=True)
class InputTensor:
    """One tensor that a network takes.

    Attributes:
        shape: its whole shape, the batch included.
        dtype: its element type, of :data:`TYPES`; empty: that of the network's weights.
        name: the argument of ``forward``, or the input of an ONNX file, that it is; empty: the next in order.
    """

    shape: tuple[int, ...]
    dtype: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        if self.dtype and self.dtype not in TYPES:
            raise InputError(f"{self.dtype!r} is no type: one of {', '.join(TYPES)}{nearest(self.dtype, TYPES)}")
        if not self.shape or min(self.shape) < 1 or prod(self.shape) > _MOST_ELEMENTS:
            raise InputError(f"{str(self)!r}: sides are whole numbers from 1 up, and at most 2^40 elements")

    @classmethod
    def read(cls, text: str) -> InputTensor:
        """Return the tensor of a text such as ``tokens=int64:1x77``.

        Raises:
            InputError: if it is none.
        """
        match = re.fullmatch(r"(?:([A-Za-z_][\w.:/-]*)=)?(?:([A-Za-z]\w*):)?(\d{1,9}(?:[x×]\d{1,9})*)", text.strip())
        if match is None:
            raise InputError(f"{text!r}: {_FORM}")
        return cls(tuple(map(int, re.split("[x×]", match[3]))), match[2] or "", match[1] or "")

    def __str__(self) -> str:
        """Return it as :meth:`read` takes it."""
        name, dtype = self.name and f"{self.name}=", self.dtype and f"{self.dtype}:"
        return f"{name}{dtype}{'x'.join(map(str, self.shape))}"


def of_python(inputs: Any) -> tuple[InputTensor, ...]:
    """Return the tensors of what a caller in Python gives.

    Args:
        inputs: one shape, text or tensor; several in a list or tuple; or a mapping of them by name. Of a tensor, shape
            and type are taken.

    Raises:
        InputError: if one is none of these.
    """
    if isinstance(inputs, Mapping):
        return tuple(_tensor(value, str(name)) for name, value in inputs.items())
    if isinstance(inputs, (list, tuple)) and not all(isinstance(side, int) for side in inputs):
        return tuple(_tensor(value) for value in inputs)
    return (_tensor(inputs),)


def _tensor(value: Any, name: str = "") -> InputTensor:
    if isinstance(value, str):
        return InputTensor.read(f"{name}={value}" if name else value)
    if isinstance(value, InputTensor):
        return value
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return InputTensor(tuple(value.shape), str(value.dtype).removeprefix("torch."), name)
    if isinstance(value, Sequence) and value and all(type(side) is int for side in value):
        return InputTensor(tuple(value), name=name)
    raise InputError(f"inputs {value!r}: a shape, a tensor, or a text: {_FORM}")


def check_names(inputs: Sequence[InputTensor]) -> None:
    """Raise InputError if two tensors have one name, or one without a name follows one with a name."""
    names = [tensor.name for tensor in inputs]
    for at, name in enumerate(names):
        if name and name in names[:at]:
            raise InputError(f"--input {name} is given twice")
        if not name and any(names[:at]):
            raise InputError(f"--input {inputs[at]}: those without a name come first")


def are_texts(inputs: Any) -> bool:
    """Return whether what a caller in Python gives is text alone, which no ``forward`` takes."""
    values = list(inputs.values()) if isinstance(inputs, Mapping) else inputs
    return isinstance(values, str) or (
        isinstance(values, (list, tuple)) and bool(values) and all(isinstance(value, str) for value in values)
    )
