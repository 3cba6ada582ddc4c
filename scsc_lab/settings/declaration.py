"""Declaration of a setting: type, default, bounds and help in one place, for every other part to read.

The command line makes an option of it (``cli/parameters.py``), Python an argument (below), the store a part of its key,
and a report a part of its sentence on method.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import math
import re
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from scsc_lab.errors import InputError, nearest
from scsc_lab.provenance import on_command_line

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Declaration:
    """Declaration of a setting apart from its name, type and default.

    Attributes:
        help: a noun phrase or sentence for ``--help``.
        option: names of the command-line option, e.g. ``-m/--model``; empty: an argument by position.
        low, high: bounds of numbers, both included.
        choices: the values allowed, or where they are listed, as ``module:name`` or ``module:function``.
        metavar: what stands for the value in ``--help``.
        panel: heading under which the option stands in ``--help``.
        decides: whether it decides the numbers, so that a store's key has it.
        added: whether its default leaves a store's key as it was before the setting was there.
        phrase: part of the report's sentence on method, with ``{}`` for the value; none where it is empty.
        parse: reads the option's text, where the type alone does not say how.
        percent: whether the option is in percent, and the value a fraction.
        repeated: whether an option with ``parse`` may be repeated, and gives one item each time.
        complete: returns what a word may become, for the shell; choices need none.
    """

    help: str
    option: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] | str = ()
    metavar: str | None = None
    panel: str = "Measurement"
    decides: bool = True
    added: bool = False
    phrase: str = ""
    parse: Callable[[str], Any] | None = None
    percent: bool = False
    repeated: bool = False
    complete: Callable[[str], list[str]] | None = None

    def allowed(self) -> tuple[str, ...]:
        """Return the values allowed, none where all are."""
        if not isinstance(self.choices, str):
            return self.choices
        module, _, name = self.choices.partition(":")
        listed = getattr(importlib.import_module(module), name)
        return tuple(listed() if callable(listed) else listed)


@dataclass(frozen=True)
class Setting:
    """One field of a settings class.

    Attributes:
        name: the field's name, which is also Python's argument.
        kind: its type, without ``None``.
        default: its default.
        declared: all else.
    """

    name: str
    kind: Any
    default: Any
    declared: Declaration

    @property
    def option_name(self) -> str:
        """The option's name as an argument of Python, which serves beside the field's: ``stage`` beside ``stages``."""
        return _long(self.declared.option).strip("-").replace("-", "_")

    def spelled(self) -> str:
        """Return how the caller spells it: the option on the command line, the argument in Python."""
        return spelled(_long(self.declared.option), self.name)


def setting(default: Any, help: str, option: str = "", **declared: Any) -> Any:
    """Return a dataclass field for a setting; see :class:`Declaration` for what may be declared."""
    return dataclasses.field(default=default, metadata={"setting": Declaration(help, option, **declared)})


@functools.cache
def settings_of(owner: Any) -> tuple[Setting, ...]:
    """Return the settings that a class declares, in order."""
    hints = get_type_hints(owner)
    return tuple(
        Setting(field.name, without_none(hints[field.name]), field.default, field.metadata["setting"])
        for field in dataclasses.fields(owner)
        if "setting" in field.metadata
    )


class Declared:
    """Base of a settings class: values are brought into their declared types and compared with bounds and choices.

    Raises:
        InputError: if a value does not fit.
    """

    def __post_init__(self) -> None:
        owner: Any = self.__class__
        for entry in settings_of(owner):
            object.__setattr__(self, entry.name, checked(entry, getattr(self, entry.name)))

    def spelled(self, name: str) -> str:
        """Return how the caller spells a setting: the option on the command line, the argument in Python."""
        owner: Any = self.__class__
        return next(entry.spelled() for entry in settings_of(owner) if entry.name == name)

    def identity(self) -> dict[str, Any]:
        """Return the settings that decide the numbers, as plain data by name."""
        owner: Any = self.__class__
        return {
            entry.name: getattr(self, entry.name)
            for entry in settings_of(owner)
            if entry.declared.decides and not (entry.declared.added and getattr(self, entry.name) == entry.default)
        }


def checked(setting: Setting, value: Any) -> Any:
    """Return a value in its declared type, compared with bounds and choices.

    Raises:
        InputError: if it does not fit; a number must be finite.
    """
    if value is None and setting.default is None:
        return None
    value = _converted(setting, value)
    for item in value if isinstance(value, tuple) else (value,):
        _check_bounds(setting, item)
    return value


def spelled(option: str, argument: str) -> str:
    """Return how the caller spells a setting: ``--max-time`` on the command line, ``max_seconds`` in Python."""
    return option if on_command_line() else argument


def without_none(kind: Any) -> Any:
    """Return a type without the ``None`` that it may allow."""
    if get_origin(kind) in (Union, types.UnionType):
        (kind,) = (part for part in get_args(kind) if part is not type(None))
    return kind


def _long(option: str) -> str:
    """Return the long name of an option: ``--output`` of ``-o/--output``."""
    return next((name for name in option.split("/") if name.startswith("--")), option)


def _converted(entry: Setting, value: Any) -> Any:
    if isinstance(value, Mapping):
        value = tuple(value.items())
    if get_origin(entry.kind) is tuple:
        items = tuple(value) if isinstance(value, (list, tuple)) else (value,)
        return tuple(_item(entry, get_args(entry.kind)[0], item) for item in items)
    return _item(entry, entry.kind, value)


def _item(entry: Setting, kind: Any, value: Any) -> Any:
    if kind is Path and isinstance(value, (str, Path)):
        return Path(value)
    if kind is int and isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    if kind is float and isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    if kind in (str, bool) and isinstance(value, kind):
        return value
    if kind is str and isinstance(value, Integral) and not isinstance(value, bool):
        return str(value)  # a stage's number
    if kind not in (int, float, str, bool, Path):
        return value  # a class of its own, which checks itself
    raise _error(entry, value)


def _check_bounds(entry: Setting, value: Any) -> None:
    declared = entry.declared
    below = declared.low is not None and value < declared.low
    above = declared.high is not None and value > declared.high
    if below or above or (declared.choices and value not in declared.allowed()):
        raise _error(entry, value)


def _error(entry: Setting, value: object) -> InputError:
    """Return the mistake in the caller's words: a percentage on the command line, a fraction in Python."""
    if isinstance(value, float):
        return InputError(f"{entry.spelled()} {_scale(entry) * value:g}: {_expected(entry, '')}")
    return InputError(f"{entry.spelled()} {value!r}: {_expected(entry, str(value))}")


def _scale(entry: Setting) -> int:
    return 100 if entry.declared.percent and on_command_line() else 1


def _expected(entry: Setting, text: str) -> str:
    kind = get_args(entry.kind)[0] if get_origin(entry.kind) is tuple else entry.kind
    if allowed := entry.declared.allowed():
        return f"one of {', '.join(allowed)}{nearest(text, allowed)}"
    kinds = {int: "a whole number", float: "a number", bool: "true or false", str: "a word", Path: "a path"}
    low, high = entry.declared.low, entry.declared.high
    if low is None:
        return kinds[kind]
    scale = _scale(entry)
    return f"{kinds[kind]} from {scale * low:g} {'up' if high is None else f'to {scale * high:g}'}"


def argument_names(owners: Sequence[Any]) -> dict[str, str]:
    """Return the field's name for each name that an argument may have: the field's, and that of the option."""
    declared = [setting for owner in owners for setting in settings_of(owner)]
    return {setting.option_name: setting.name for setting in declared} | {
        setting.name: setting.name for setting in declared
    }


def from_arguments(owners: Sequence[Any], arguments: Mapping[str, Any]) -> list[Any]:
    """Return one object per settings class from keyword arguments; a name that several declare goes to each of them.

    An argument that is None has the class's default.

    Raises:
        InputError: if no class declares an argument, or a value does not fit.
    """
    names = argument_names(owners)
    for name in arguments:
        if name not in names:
            raise InputError(f"unknown argument {name!r}{nearest(name, names)}")
    values = {names[name]: value for name, value in arguments.items() if value is not None}
    fields = [[setting.name for setting in settings_of(owner) if setting.name in values] for owner in owners]
    return [owner(**{name: values[name] for name in names}) for owner, names in zip(owners, fields, strict=True)]


def with_settings(*owners: Any) -> Callable[[Function], Function]:
    """Return a decorator for a function of Python's interface that takes settings as keywords.

    Its signature and docstring get the settings, and its complaints name arguments in place of options.
    """

    def decorate(function: Function) -> Function:
        signature = inspect.signature(function)
        settings = {setting.name: setting for owner in owners for setting in settings_of(owner)}
        shadowed = signature.parameters.keys()
        settings = {name: setting for name, setting in settings.items() if not {name, setting.option_name} & shadowed}
        names = {option: name for option, name in argument_names(owners).items() if option not in signature.parameters}

        @functools.wraps(function)
        def call(*positional: Any, **keywords: Any) -> Any:
            try:
                return function(*positional, **keywords)
            except InputError as error:
                error.args = (_in_python(str(error), names),)
                raise

        described: Any = call
        if settings:
            parameters = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
            added = [
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=setting.default)
                for name, setting in settings.items()
            ]
            described.__signature__ = signature.replace(parameters=[*parameters, *added])
            lines = [f"    {name}: {setting.declared.help}" for name, setting in settings.items()]
            described.__doc__ = "\n".join([inspect.cleandoc(function.__doc__ or ""), "", "Settings:", *lines])
        return described  # type: ignore[no-any-return]  # the function, with what it takes

    return decorate


def _in_python(message: str, names: Mapping[str, str]) -> str:
    """Return a message with the names of arguments in place of options, except in quoted commands."""

    def argument(match: re.Match[str]) -> str:
        name = match[1].replace("-", "_")
        return names.get(name, name)

    parts = message.split("`")
    return "`".join(
        part if at % 2 else re.sub(r"(?<![\w-])--([a-z][a-z-]*)", argument, part) for at, part in enumerate(parts)
    )
