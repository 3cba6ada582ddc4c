"""The command line: each command parses, makes one library call and shows the result.

torch is imported inside the commands, so that ``--help``, ``models`` and shell completion answer at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import typer

from scsc_lab import __version__
from scsc_lab.cli import ablate, compare, erf, flops, latency, models, paper, report
from scsc_lab.errors import InputError

app = typer.Typer(
    name="scsc-lab",
    help="What does SCSC do to a vision backbone: in parameters, multiply-accumulates, latency and receptive field?",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command("flops")(flops.flops)
app.command("latency")(latency.latency)
app.command("erf")(erf.erf)
app.command("compare")(compare.compare)
app.command("models")(models.models)
app.command("paper")(paper.paper)
app.command("ablate")(ablate.ablate)
app.command("report")(report.report)

_UsageError: Any = typer.BadParameter.__mro__[2]
"""The parent of all of typer's usage errors; it has no public name on every version."""


INTERRUPTED = 130
"""Exit code of a command that Ctrl-C has ended, also where it printed what it had."""


def _show_version(wanted: bool) -> None:
    if wanted:
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
    """Run the command line and return its exit code: 0, 1 (a check failed), 2 (a mistake in what was given)."""
    try:
        code = app(None if arguments is None else list(arguments), standalone_mode=False)
        sys.stdout.flush()
        if code == INTERRUPTED:
            print("scsc-lab: interrupted", file=sys.stderr)
        return code if isinstance(code, int) else 0
    except InputError as error:
        return _complain(str(error))
    except _UsageError as error:
        return _complain(error.format_message())
    except (KeyboardInterrupt, typer.Abort):
        print("scsc-lab: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader, head say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _complain(message: str) -> int:
    print(f"scsc-lab: {' '.join(message.split())}", file=sys.stderr)
    return 2
