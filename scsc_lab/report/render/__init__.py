"""A table as text: for the terminal, Markdown, CSV, JSON or LaTeX. One file a format."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

from scsc_lab import files
from scsc_lab.errors import InputError
from scsc_lab.provenance import RunInfo
from scsc_lab.report.render import latex, markdown, raw, terminal
from scsc_lab.report.tables import Table
from scsc_lab.settings import Output, PaperTable

FORMATS: Mapping[str, Callable[[Table, RunInfo], str]] = {
    "table": terminal.render,
    "markdown": markdown.render,
    "csv": raw.render,
    "json": raw.render_json,
    "latex": latex.render,
}
"""Every output format by name."""

SUFFIXES = {".txt": "table", ".md": "markdown", ".csv": "csv", ".json": "json", ".tex": "latex"}
"""Format by a file's suffix."""


def choose(options: Output) -> str:
    """Return the name of the format: as given, else by the file's suffix, else ``table``; call it before measuring.

    Raises:
        InputError: if a suffix says nothing, the file cannot be written, or options of LaTeX are given with another
            format.
    """
    name, file = options.format, options.output
    if file is not None and name is None and file.suffix not in SUFFIXES:
        raise InputError(
            f"cannot tell a format from the suffix of {str(file)!r}: use {', '.join(SUFFIXES)} or --format"
        )
    name = name or ("table" if file is None else SUFFIXES[file.suffix])
    if name != "latex" and (options.caption or options.tex_label or _is_bold(options)):
        raise InputError("--caption, --tex-label and --bold-best are for LaTeX: add --format latex")
    if options.tex_label:
        latex.check_label(options.tex_label)
    if file is not None:
        files.check_writable(file)
    return name


def _is_bold(options: Output) -> bool:
    return isinstance(options, PaperTable) and options.bold_best


def emit(table: Table, run: RunInfo, options: Output | None = None) -> None:
    """Print a table in a format, or write it to a file whole or not at all.

    Raises:
        InputError: as :func:`choose`; the table is printed then.
    """
    options = options or Output()
    try:
        name = choose(options)
        write = FORMATS[name]
        if name == "latex":
            write = functools.partial(
                latex.render, caption=options.caption, label=options.tex_label, bold_best=_is_bold(options)
            )
        if options.output is not None:
            files.write(options.output, write(table, run))
            return
    except InputError:
        terminal.print_table(table, files.results())
        raise
    if name == "table":
        terminal.print_table(table, files.results())
        return
    text = write(table, run)
    if name == "json" and not (files.results().encoding or "").lower().startswith("utf"):
        text = raw.in_ascii(text)
    print(text, end="", file=files.results())
