"""From settings classes to a command's options: the signature that Typer reads, and the objects that a command gets."""

from __future__ import annotations

import contextlib
import functools
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass, replace
from enum import Enum, StrEnum
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand

from scsc_lab import files
from scsc_lab.errors import InputError
from scsc_lab.execution import ending
from scsc_lab.settings import Execution
from scsc_lab.settings.declaration import Declaration, Setting, checked, settings_of, without_none

PANELS = ("Options", "Networks", "Replacement", "Measurement", "Training", "Output")
"""Headings of options in ``--help``, in order; ``Options`` are a command's own."""


choice_class: Any = StrEnum
"""Class factory for choices at run time."""


class Without:
    """In the annotation of a command's parameter: settings of the class that are no options of this command."""

    def __init__(self, *names: str) -> None:
        self.names = names


class Only:
    """In the annotation of a command's parameter: the settings of the class that are options of this command."""

    def __init__(self, *names: str) -> None:
        self.names = names


class Reworded:
    """In the annotation of a command's parameter: settings of the class that this command explains in other words."""

    def __init__(self, **helps: str) -> None:
        self.helps = helps


def option(help: str, option: str, **declared: Any) -> Declaration:
    """Return the declaration of an option that one command has, for the annotation of its parameter."""
    return Declaration(help, option, **{"panel": PANELS[0], **declared})


def output_file(help: str, name: str, metavar: str = "FILE") -> Declaration:
    """Return the declaration of an option that names a file or a folder to write."""
    return option(help, name, metavar=metavar, panel="Output")


_TIMEOUT = Setting(
    "timeout",
    float,
    None,
    option(
        "Seconds that building or measuring one network may take.",
        "--timeout",
        low=0.001,
        high=1e9,
        metavar="SECONDS",
        panel="Measurement",
    ),
)
"""An option of all commands that run networks."""


class Command(TyperCommand):
    """A command whose ``--help`` has an example, the options to start with, and the others under headings."""

    example = ""
    """A command line, for ``--help``."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the example, the arguments, the first options, and the others of each panel."""
        if self.example:
            with formatter.section("Example"):
                formatter.write(f"{'':{formatter.current_indent}}$ {self.example}\n")
        first = getattr(self.callback, "first", "").split()
        headings = ("Arguments", *(["Options to start with"] if first else []), *PANELS)
        sections: dict[str, list[tuple[str, str]]] = {heading: [] for heading in headings}
        for parameter in sorted(self.get_params(ctx), key=lambda parameter: _position(parameter, first)):
            is_argument = parameter.param_type_name == "argument"
            if record := parameter.get_help_record(ctx):
                name, text = record[0], _BOUNDS.sub(_spelled_bounds, record[1])
                name = f"[{parameter.metavar}]..." if is_argument else name
                is_first = _position(parameter, first) < len(first)
                heading = "Arguments" if is_argument else headings[1] if is_first else _panel(parameter)
                sections.setdefault(heading, []).append((name, text))
        for heading, records in sections.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)


_BOUNDS = re.compile(r"(?:([\d.]+)<=)?x(?:>=([\d.]+)|<=([\d.]+))")
"""Bounds of a number as click writes them: ``1<=x<=1024`` or ``x>=1``."""


def _spelled_bounds(match: re.Match[str]) -> str:
    low, high = (text.removesuffix(".0") for text in (match[1] or match[2] or "", match[3] or ""))
    return f"{low} to {high}" if low and high else f"from {low}" if low else f"up to {high}"


def _position(parameter: Any, first: Sequence[str]) -> int:
    """Return the position of a parameter among the options to start with; their number for any other."""
    return next((at for at, name in enumerate(first) if name in parameter.opts), len(first))


def command(first: str = "") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that makes each settings class among a function's parameters the options that it declares.

    A parameter annotated with a declaration is an option of its own; other parameters stay as they are. A setting that
    several classes declare under one name is one option, which goes to each.

    Args:
        first: the options that ``--help`` shows first, separated by spaces.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(function)
        hints = get_type_hints(function, include_extras=True)
        options: dict[str, inspect.Parameter] = {}
        groups: dict[str, tuple[Any, list[Setting]]] = {}
        own_settings: dict[str, Setting] = {}
        many = []
        for name, parameter in signature.parameters.items():
            annotation = hints[name]
            owner, *extras = get_args(annotation) if get_origin(annotation) is Annotated else (annotation,)
            if not is_dataclass(owner):
                many += [name] if get_origin(owner) is tuple else []
                if declared := next((extra for extra in extras if isinstance(extra, Declaration)), None):
                    own_settings[name] = Setting(name, without_none(owner), parameter.default, declared)
                    options[name] = _parameter(own_settings[name])
                else:
                    options[name] = parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
                continue
            chosen = _chosen(owner, extras)
            groups[name] = (owner, chosen)
            for setting in chosen:
                shared = setting.name in options
                options[setting.name] = _without_default(options[setting.name]) if shared else _parameter(setting)

        if any(issubclass(owner, Execution) for owner, _ in groups.values()):
            options["timeout"] = _parameter(_TIMEOUT)

        @functools.wraps(function)
        def run(**values: Any) -> Any:
            ending.set_time_limit(values.pop("timeout", None))
            made = {name: owner(**_values(declarations, values)) for name, (owner, declarations) in groups.items()}
            plain = {name: _plain(values[name]) for name in signature.parameters if name not in groups}
            plain |= {name: tuple(plain[name] or ()) for name in many}
            plain |= {
                name: checked(setting, plain[name])
                for name, setting in own_settings.items()
                if setting.kind in (int, float)
            }
            with files.only_results():
                return function(**plain, **made)

        described: Any = run
        described.__signature__ = inspect.Signature(list(options.values()))
        described.__annotations__ = {name: parameter.annotation for name, parameter in options.items()}
        described.first = first
        return run

    return decorate


def _chosen(owner: Any, extras: Sequence[Any]) -> list[Setting]:
    """Return the settings of a class that a command has, in its words."""
    without = {name for extra in extras if isinstance(extra, Without) for name in extra.names}
    only = {name for extra in extras if isinstance(extra, Only) for name in extra.names}
    helps = {name: text for extra in extras if isinstance(extra, Reworded) for name, text in extra.helps.items()}
    return [
        replace(setting, declared=replace(setting.declared, help=helps.get(setting.name, setting.declared.help)))
        for setting in settings_of(owner)
        if setting.name not in without and (not only or setting.name in only)
    ]


def _panel(parameter: Any) -> str:
    return getattr(parameter, "rich_help_panel", None) or PANELS[0]


def _parameter(setting: Setting) -> inspect.Parameter:
    """Return a setting as a parameter that Typer reads."""
    declared, many = setting.declared, get_origin(setting.kind) is tuple
    kind: Any = get_args(setting.kind)[0] if many else setting.kind
    default = setting.default
    scale = 100 if declared.percent else 1
    allowed = get_args(kind) if get_origin(kind) is Literal else declared.allowed()
    shared: dict[str, Any] = {
        "help": declared.help,
        "metavar": declared.metavar,
        "rich_help_panel": declared.panel,
        "autocompletion": declared.complete or (_completion(allowed) if allowed and declared.parse else None),
    }
    if declared.parse:
        shared["parser"] = _reader(declared.parse)
        kind = tuple if get_origin(kind) is tuple else object if kind is str else kind  # not read by its type
        if allowed:
            shared["help"] += f" One or more of {', '.join(allowed)}."
    elif allowed:
        kind = choice_class("Choice", [(choice, choice) for choice in allowed])
        shared["case_sensitive"] = False
        shared["metavar"] = f"<{'|'.join(allowed)}>"
    if kind in (int, float) and not declared.parse:
        bounds = (None if bound is None else kind(scale * bound) for bound in (declared.low, declared.high))
        shared["min"], shared["max"] = bounds
        shared["parser"] = _number_reader(kind)
    if many and (declared.parse is None or declared.repeated):
        kind, default = list[kind], list(default) or None
    if isinstance(default, float):
        default = scale * default
    annotation = kind if default not in (None, ()) else kind | None
    if declared.option:
        names = [declared.option] if setting.kind is bool else declared.option.split("/")
        annotation = Annotated[annotation, typer.Option(*names, **shared)]
    else:
        annotation = Annotated[annotation, typer.Argument(show_default=False, **shared)]
    return inspect.Parameter(
        setting.name, inspect.Parameter.KEYWORD_ONLY, default=None if default == () else default, annotation=annotation
    )


def _without_default(parameter: inspect.Parameter) -> inspect.Parameter:
    """Return a parameter that several classes declare: each has its own default."""
    kind, option = get_args(parameter.annotation)
    return parameter.replace(default=None, annotation=Annotated[kind | None, option])


def _values(settings: list[Setting], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a class's settings that the command line has; the class has a default for the others."""
    given_values = {
        setting.name: _plain(values[setting.name]) for setting in settings if values[setting.name] is not None
    }
    scaled = {setting.name for setting in settings if setting.declared.percent and setting.name in given_values}
    return {name: value / 100 if name in scaled else value for name, value in given_values.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.value if isinstance(value, Enum) else value


def _reader(parse: Callable[[str], Any]) -> Callable[[Any], Any]:
    """Return what reads an option's text, and leaves a default as it is."""

    def read(text: Any) -> Any:
        try:
            return parse(text) if isinstance(text, str) else text
        except InputError as error:
            raise typer.BadParameter(str(error)) from None

    return read


def _number_reader(kind: type[float]) -> Callable[[Any], Any]:
    """Return what reads an option's text as a number, a whole one in exponent form too: ``1e3``."""

    def number(text: Any) -> Any:
        with contextlib.suppress(ValueError):
            value = float(text)
            if kind is float or value.is_integer():
                return kind(value)
        raise typer.BadParameter(f"{text!r} is not a {'whole ' if kind is int else ''}number")

    return number


def _completion(allowed: tuple[str, ...]) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        return [choice for choice in allowed if choice.startswith(incomplete)]

    return complete
