"""A table as text: for people at a terminal, and as CSV and JSON, here; Markdown and LaTeX have a file each."""

from __future__ import annotations

import functools
import io
import json
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any, Literal

from scsc_lab import files
from scsc_lab.errors import InputError
from scsc_lab.provenance import RunInfo
from scsc_lab.records import SCHEMA, Row
from scsc_lab.report.render import latex, markdown
from scsc_lab.report.tables import Table
from scsc_lab.settings import Output, PaperTable
from scsc_lab.units import one_line, visible

_PIPED_WIDTH = 1000
_LINE = 80
_READABLE = 20
"""Letters that a column of words has at least, or an optional column is left out."""

_LEAST = 8
"""Letters that a column of words has at least, or the last columns stand in a further block below."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")
"""What a spreadsheet takes for the beginning of a formula."""

_RAW = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that JSON allows in a text as they are, and terminals obey or files refuse."""


def to_csv(table: Table, run: RunInfo) -> str:
    """Return the rows as CSV: numbers raw, the input size as ``224x320``, lists and mappings as JSON.

    Text that a spreadsheet would take for a formula begins with an apostrophe, which keeps it text.
    """
    return rows_to_csv(table.raw)


def columns_to_csv(table: Table) -> str:
    """Return the columns that a table shows as CSV, numbers raw."""
    keys = [key for column in table.columns for key in column.keys]
    return rows_to_csv([{key: row.get(key) for key in keys} for row in table.rows])


def rows_to_csv(raw: Sequence[Row]) -> str:
    """Return rows as CSV; see :func:`to_csv`."""
    import pandas

    rows = [{_text(key): _scalar(key, value) for key, value in row.items()} for row in raw]
    return str(pandas.DataFrame(rows, dtype=object).to_csv(index=False, lineterminator="\n"))


def _scalar(key: str, value: Any) -> Any:
    if key == "resolution" and isinstance(value, (list, tuple)):
        return _text("x".join(map(str, value)))
    if isinstance(value, (dict, list, tuple)):
        return _text(json.dumps(value, ensure_ascii=False))
    return _text(value) if isinstance(value, str) else value


def _text(value: str) -> str:
    guarded = f"'{value}" if value.startswith(_FORMULA) else value
    return "\n".join(map(visible, guarded.split("\n")))


def to_json(table: Table, run: RunInfo) -> str:
    """Return the table's rows with how they were made; text reads back as it was."""
    notes = [*table.notes, *(note for part in table.details for note in part.notes)]
    document = {"schema": SCHEMA, "run": run.row(), "rows": list(table.raw), "notes": notes}
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    return _RAW.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n"


def _in_ascii(text: str) -> str:
    """Return JSON in ASCII alone, for where no other character can be written."""
    return re.sub(r"[^\x00-\x7f]", lambda match: json.dumps(match[0])[1:-1], text)


def _as_printed(table: Table, run: RunInfo) -> str:
    """Return the table as it is printed when piped."""
    buffer = io.StringIO()
    print_table(table, buffer)
    return buffer.getvalue()


FORMATS: Mapping[str, Callable[[Table, RunInfo], str]] = {
    "table": _as_printed,
    "markdown": markdown.render,
    "csv": to_csv,
    "json": to_json,
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
        text = _in_ascii(text)
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

    while not fits(table, _READABLE) and (narrower := markdown.without_last_optional(table)):
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
