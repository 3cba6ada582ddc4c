"""The command line: each command parses, makes one library call and shows the result.

torch is imported inside the commands, so that ``--help``, ``models`` and shell completion answer at once.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import functools
import importlib
import os
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from scsc_lab import __version__
from scsc_lab.errors import InputError, located, printable, shorten_warnings
from scsc_lab.execution import ending
from scsc_lab.provenance import commanded

OVERVIEW = """\
models: List the networks of the catalog with their input, aliases, published accuracy and its source.
$ scsc-lab models --family swin
flops: Count parameters, MACs, activations and bytes of networks, cross-checked against fvcore.
$ scsc-lab flops resnet50 scsc_resnet50
latency: Time networks side by side, in pairs of random order, and compare them with 95 % intervals.
$ scsc-lab latency swin_tiny scsc_swin_tiny
roofline: Compare each kind of module with the roofs of this machine: peak MACs and memory bandwidth.
$ scsc-lab roofline swin_tiny scsc_swin_tiny
erf: Measure and draw effective receptive fields, so that networks can be compared.
$ scsc-lab erf swin_tiny scsc_swin_tiny -o erf.png
compare: Compare networks by size, latency, receptive field, and published, your own or trained accuracy.
$ scsc-lab compare swin scsc_swin
ablate: Measure variants of a network, each against the full one, and draw one figure per study.
$ scsc-lab ablate scsc_swin_tiny --study components
search: Search settings of a network for the best under budgets: exactly where counts decide, else by trials.
$ scsc-lab search scsc_swin_tiny --space kernels --minimise macs
sweep: Measure networks at each value of a setting: exponents of growth, and where two networks are equal.
$ scsc-lab sweep swin scsc_swin --over resolution=128..512:64
train: Train networks in pairs of one seed and compare their accuracies: the last epoch, with a 95 % interval.
$ scsc-lab train swin_pico scsc_swin_pico --seeds 10
evaluate: Evaluate trained networks: top-1 and top-5, or verification, with 95 % intervals; McNemar's test of each pair.
$ scsc-lab evaluate swin_pico --weights run.pt --data navon
export: Write a network to an ONNX file or a torch.export program, run there and compared with torch.
$ scsc-lab export scsc_resnet50 --output scsc_resnet50.onnx
paper: Compare the claims of the paper's abstract (arXiv 2308.07110) with our own counts.
$ scsc-lab paper
report: Measure the paper's networks, or those named (the first is the baseline), and write a report.
$ scsc-lab report --name mine --html --open
"""
"""Each command with the first sentence of its help and an example, in the order in which one needs them."""

COMMANDS = {name: (sentence, example) for name, sentence, example in re.findall(r"(.+?): (.+)\n\$ (.+)\n", OVERVIEW)}

_HOMES = {"paper": "models", "roofline": "latency", "sweep": "compare"}
"""Modules of the commands that share one with a kindred command."""


class _Commands(Mapping[str, Any]):
    """The commands by name, each imported and built when it is looked up."""

    def __getitem__(self, name: str) -> Any:
        return _built(name)

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


@functools.cache
def _built(name: str) -> Any:
    _, example = COMMANDS[name]

    from scsc_lab.cli.parameters import Command

    function = getattr(importlib.import_module(f"scsc_lab.cli.{_HOMES.get(name, name)}"), name)
    alone = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)
    alone.command(name, cls=Command)(function)
    command: Any = typer.main.get_command(alone)
    command.example = example
    return command


class Overview(TyperGroup):
    """All commands, each with a whole sentence and an example."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands: Any = _Commands()

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the options; flags without a default, as typer's own have none, would have it import pydantic."""
        options = super().get_params(ctx)
        for option in options:
            if getattr(option, "is_flag", False) and option.default is None:
                option.default = False
        return options

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write each command with the first sentence of its help and its example, none cut off."""
        wide = max(map(len, COMMANDS))
        indent = " " * (formatter.current_indent + 2 + wide + 2)
        with formatter.section("Commands"):
            for name, (sentence, example) in COMMANDS.items():
                head = f"{'':{formatter.current_indent}}{name:{wide}}  "
                width = max(formatter.width, len(indent) + 20)
                lines = textwrap.wrap(
                    sentence, width, initial_indent=head, subsequent_indent=indent, break_on_hyphens=False
                )
                formatter.write("\n".join(lines) + "\n")
                formatter.write(f"{indent}$ {example}\n")


app = typer.Typer(
    name="scsc-lab",
    cls=Overview,
    help="Measure what a module such as SCSC does to a vision backbone: parameters, multiply-accumulates, latency, "
    "receptive field and accuracy. `scsc-lab COMMAND --help` shows the options of a command.",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
_UsageError: Any = typer.BadParameter.__mro__[2]
"""The parent of all of typer's usage errors; it has no public name on every version."""


_LONGEST = 1000
"""Letters of a complaint."""

_OUTPUT_ERRORS = (errno.ENOSPC, errno.EIO, errno.EBADF)


def _show_version(is_asked_for: bool) -> None:
    if is_asked_for:
        print(f"scsc-lab {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="Print the version."),
) -> None:
    del version
    if context.invoked_subcommand is None:
        print(context.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: words of the command; those of this process if ``None``.

    Returns:
        0; 1 if a check failed; 2 for a mistake in the input, code that ends the process or an output that cannot
        be written; 130 if interrupted by Ctrl-C, 143 by SIGTERM.
    """
    line = sys.argv[1:] if arguments is None else list(arguments)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - as long as the process
    if sys.stdout is None or sys.stdout.closed:
        return _complain("standard output is closed; redirect it to /dev/null to discard the output")
    with commanded(line), _encodable():
        shorten_warnings()
        code = _run(line)
        try:
            sys.stdout.flush()
        except BrokenPipeError:  # the reader, head say, has seen enough
            _discard_output()
        except OSError as error:
            _discard_output()
            return _complain(f"cannot write to standard output: {error.strerror}")
    return code


def _run(arguments: list[str]) -> int:
    try:
        code = app(arguments, standalone_mode=False)
        return _interrupted() if code == ending.INTERRUPTED else code if isinstance(code, int) else 0
    except BaseException as error:
        return _interrupted() if ending.is_interrupted() else _failed(error, arguments)


def _interrupted() -> int:
    print("scsc-lab: interrupted", file=sys.stderr)
    return ending.exit_code()


def _failed(error: BaseException, arguments: Sequence[str]) -> int:
    """Say in one line what ended a command, and return its exit code."""
    if isinstance(error, InputError):
        return _complain(str(error))
    if isinstance(error, _UsageError):
        message = error.format_message().replace("Value error, ", "")  # pydantic's word before the message
        return _complain(message + _other_commands(getattr(error, "option_name", None)))
    if isinstance(error, (KeyboardInterrupt, typer.Abort)):
        return _interrupted()
    if isinstance(error, SystemExit) and (
        any(key.endswith("_COMPLETE") for key in os.environ)
        or any(argument.endswith("-completion") for argument in arguments)
    ):
        raise error  # typer answers the shell, and ends the process
    broken = error.__context__ if isinstance(error, SystemExit) else error  # rich turns one into the other
    if isinstance(broken, BrokenPipeError):
        _discard_output()
        return 0
    if isinstance(error, SystemExit):
        return _complain(f"the network's code ended the process: {located(error)}")
    if sys.flags.dev_mode:
        raise error
    if isinstance(error, OSError) and error.filename is None and error.errno in _OUTPUT_ERRORS:
        return _complain(f"cannot write to standard output: {error.strerror}")
    if isinstance(error, OSError) and error.filename is not None:
        return _complain(f"cannot use {error.filename}: {error.strerror}")
    return _complain(f"{located(error)}; `python -X dev -m scsc_lab` shows where it comes from")


def _other_commands(option: str | None) -> str:
    """Return which commands have an option that this one has not, as the end of a sentence."""
    has_it = [
        name
        for name, command in (_Commands().items() if option else ())
        if any(option in (*parameter.opts, *parameter.secondary_opts) for parameter in command.params)
    ]
    return f" (it is an option of {', '.join(has_it)})" if has_it else ""


def _discard_output() -> None:
    """Let what is still to be printed vanish, so that Python does not fail to print it at its exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


_PLAIN = dict(zip("−–×Δσ≥≤±…²·→", ("-", "-", "x", "d", "s", ">=", "<=", "+-", "...", "2", ".", "->"), strict=True))
"""Characters to print where a terminal cannot show another."""


def _in_plain_letters(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_PLAIN.get(letter, "?") for letter in error.object[error.start : error.end]), error.end


codecs.register_error("scsc_lab.plain", _in_plain_letters)


@contextlib.contextmanager
def _encodable() -> Iterator[None]:
    """Print what a terminal of few characters cannot show in those it has."""
    streams: list[Any] = [sys.stdout, sys.stderr]
    strict = [each for each in streams if getattr(each, "errors", "") == "strict" and hasattr(each, "reconfigure")]
    for stream in strict:
        stream.reconfigure(errors="scsc_lab.plain")
    try:
        yield
    finally:
        for stream in strict:
            if not stream.closed:
                stream.reconfigure(errors="strict")


def _complain(message: str) -> int:
    line = " ".join(message.split())
    if len(line) > _LONGEST:  # somebody's word of thousands of letters
        line = f"{line[: _LONGEST // 2]} ... {line[-_LONGEST // 2 :]}"
    print(f"scsc-lab: {printable(line)}", file=sys.stderr)
    return 2
