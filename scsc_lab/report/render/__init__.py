"""A table as text: for people at a terminal here; Markdown, CSV, JSON and LaTeX have a file each."""

from __future__ import annotations

import functools
import io
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import IO, Literal

from scsc_lab import files
from scsc_lab.errors import InputError
from scsc_lab.provenance import RunInfo
from scsc_lab.report.render import latex, markdown, raw
from scsc_lab.report.tables import Table
from scsc_lab.settings import Output, PaperTable
from scsc_lab.units import one_line

_PIPED_WIDTH = 1000
_LINE = 80
_READABLE = 20
"""Letters that a column of words has at least, or an optional column is left out."""

_LEAST = 8
"""Letters that a column of words has at least, or the last columns stand in a further block below."""


def _as_printed(table: Table, run: RunInfo) -> str:
    """Return the table as it is printed when piped."""
    buffer = io.StringIO()
    print_table(table, buffer)
    return buffer.getvalue()


FORMATS: Mapping[str, Callable[[Table, RunInfo], str]] = {
    "table": _as_printed,
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
        print_table(table, files.results())
        raise
    if name == "table":
        print_table(table, files.results())
        return
    text = write(table, run)
    if name == "json" and not (files.results().encoding or "").lower().startswith("utf"):
        text = raw.in_ascii(text)
    print(text, end="", file=files.results())


def print_table(table: Table, file: IO[str]) -> None:
    """Print a table for people: to the width of a terminal, in full and plain where the output is piped."""
    from rich import box
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console(file=file, highlight=False)
    if not console.is_terminal:
        console.width = _PIPED_WIDTH

    def drawn(table: Table, text_width: int = _LEAST) -> RichTable:
        grid = RichTable(
            box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold"
        )
        rows = [[one_line(cell) for cell in cells] for cells in table.cells()]
        for index, column in enumerate(table.columns):
            justify: Literal["right", "left"] = "right" if column.number else "left"
            heading = one_line(column.heading)
            widest = max(map(cell_len, (heading, *(cells[index] for cells in rows))))
            least = widest if column.number else min(widest, text_width)
            grid.add_column(Text(heading), justify=justify, overflow="fold", no_wrap=column.number, min_width=least)
        for cells in rows:
            grid.add_row(*(Text(cell) for cell in cells))
        return grid

    unbounded = console.options.update(max_width=_PIPED_WIDTH)  # measured in the terminal's width, all fits it

    def fits(table: Table, text_width: int) -> bool:
        return console.measure(drawn(table, text_width), options=unbounded).minimum <= console.width

    while not fits(table, _READABLE) and (narrower := _without_last_optional(table)):
        table = narrower
    if table.title:
        console.print(Text(one_line(table.title), style="bold"))
    widest = 0
    for number, block in enumerate(table.in_blocks(lambda block: fits(block, _LEAST))):
        if number:
            console.print()
        grid = drawn(block)
        console.print(grid)
        widest = max(widest, console.measure(grid).maximum)
    width = console.width if console.is_terminal else max(_LINE, widest)
    for note in table.notes:
        lines = textwrap.fill(one_line(note), width, subsequent_indent="  ", break_long_words=False)
        console.print(Text(lines, style="dim"))
    for detail in table.details:
        console.print()
        print_table(detail, file)


def _without_last_optional(table: Table) -> Table | None:
    """Return the table with one optional column less, the last, or ``None`` if it has none."""
    last = next((column for column in reversed(table.columns) if column.optional), None)
    if last is None:
        return None
    return replace(table, columns=tuple(column for column in table.columns if column is not last))
