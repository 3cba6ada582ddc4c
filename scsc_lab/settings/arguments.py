"""From settings classes to Python's keyword arguments, as ``cli/parameters.py`` makes options of them."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from scsc_lab.errors import InputError, nearest
from scsc_lab.settings.declaration import settings_of

Function = TypeVar("Function", bound=Callable[..., Any])


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
    chosen = [
        {setting.name: values[setting.name] for setting in settings_of(owner) if setting.name in values}
        for owner in owners
    ]
    return [owner(**values_of_owner) for owner, values_of_owner in zip(owners, chosen, strict=True)]


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
            parameters = [
                setting
                for setting in signature.parameters.values()
                if setting.kind is not inspect.Parameter.VAR_KEYWORD
            ]
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
