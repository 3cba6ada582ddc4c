"""A table as text: for the terminal, Markdown, CSV, JSON or LaTeX. One file a format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from scsc_lab import files
from scsc_lab.errors import InputError, nearest
from scsc_lab.provenance import RunInfo
from scsc_lab.report.render import csv, json, latex, markdown, terminal
from scsc_lab.report.tables import Table

FORMATS: Mapping[str, Callable[[Table, RunInfo], str]] = {
    "table": terminal.render,
    "markdown": markdown.render,
    "csv": csv.render,
    "json": json.render,
    "latex": latex.render,
}
"""Every output format by name."""

SUFFIXES = {".txt": "table", ".md": "markdown", ".csv": "csv", ".json": "json", ".tex": "latex"}
"""Format by a file's suffix."""


def choose(name: str | None, output: Path | None) -> str:
    """Return the format asked for: by name, else by the file's suffix, else ``table``; to be asked before measuring.

    Raises:
        InputError: if there is no such format, a suffix says nothing, or the file cannot be written.
    """
    if name is not None and name not in FORMATS:
        raise InputError(f"unknown format {name!r}: one of {', '.join(FORMATS)}{nearest(name, FORMATS)}")
    if output is None:
        return name or "table"
    if name is None and output.suffix not in SUFFIXES:
        raise InputError(
            f"cannot tell a format from the suffix of {str(output)!r}: use {', '.join(SUFFIXES)} or --format"
        )
    files.check_writable(output)
    return name or SUFFIXES[output.suffix]


def emit(table: Table, run: RunInfo, name: str | None = None, output: Path | None = None) -> None:
    """Print a table in a format, or write it to a file whole or not at all.

    Raises:
        InputError: if the format is unknown or the file cannot be written; the table is printed then.
    """
    try:
        chosen = choose(name, output)
        if output is not None:
            files.write(output, FORMATS[chosen](table, run))
            return
    except InputError:
        terminal.print_table(table, files.results())
        raise
    if chosen == "table":
        terminal.print_table(table, files.results())
    else:
        text = FORMATS[chosen](table, run)
        if chosen == "json" and not (files.results().encoding or "").lower().startswith("utf"):
            text = json.in_ascii(text)
        print(text, end="", file=files.results())
