"""Inputs of a network that are more, or other, than one image: tensors of any shape and type, by place or by name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from scsc_lab.errors import InputError, nearest

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
