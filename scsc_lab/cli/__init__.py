"""The command line: each command parses, makes one library call and shows the result.

torch is imported inside the commands, so that ``--help``, ``models`` and shell completion answer at once.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import os
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from scsc_lab import __version__
from scsc_lab.cli import (
    ablate,
    compare,
    erf,
    evaluate,
    export,
    flops,
    latency,
    models,
    paper,
    report,
    roofline,
    search,
    sweep,
    train,
)
from scsc_lab.cli.parameters import Command
from scsc_lab.errors import InputError, located, printable, shorten_warnings
from scsc_lab.execution import ending
from scsc_lab.provenance import commanded


class Overview(TyperGroup):
    """All commands, in the order in which one needs them, each with a whole sentence and an example."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write each command with the first sentence of its help and its example, none cut off."""
        names = list(self.commands)
        wide = max(map(len, names), default=0)
        with formatter.section("Commands"):
            for name in names:
                sentence = " ".join((self.commands[name].help or "").partition("\n\n")[0].split())
                indent = " " * (formatter.current_indent + wide + 2)
                head = f"{'':{formatter.current_indent}}{name:{wide}}  "
                width = max(formatter.width, len(indent) + 20)
                lines = textwrap.wrap(
                    sentence, width, initial_indent=head, subsequent_indent=indent, break_on_hyphens=False
                )
                formatter.write("\n".join(lines) + "\n")
                if example := getattr(self.commands[name].callback, "example", ""):
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
for _function in (
    models.models,
    flops.flops,
    latency.latency,
    roofline.roofline,
    erf.erf,
    compare.compare,
    ablate.ablate,
    search.search,
    sweep.sweep,
    train.train,
    evaluate.evaluate,
    export.export,
    paper.paper,
    report.report,
):  # in the order in which one needs them
    app.command(_function.__name__, cls=Command)(_function)

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
        return _interrupted() if ending.is_interrupted() else _failed(error)


def _interrupted() -> int:
    print("scsc-lab: interrupted", file=sys.stderr)
    return ending.exit_code()


def _failed(error: BaseException) -> int:
    """Say in one line what ended a command, and return its exit code."""
    if isinstance(error, InputError):
        return _complain(str(error))
    if isinstance(error, _UsageError):
        message = error.format_message().replace("Value error, ", "")  # pydantic's word before the message
        return _complain(message + _other_commands(getattr(error, "option_name", None)))
    if isinstance(error, (KeyboardInterrupt, typer.Abort)):
        return _interrupted()
    if isinstance(error, SystemExit) and any(key.endswith("_COMPLETE") for key in os.environ):
        raise error  # the shell asks for completions
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
    commands: Any = typer.main.get_command(app)
    has_it = [
        name
        for name, command in (commands.commands.items() if option else ())
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
