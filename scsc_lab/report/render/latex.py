"""LaTeX for a paper: a booktabs table with caption and label that pdflatex sets as it is."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace

from scsc_lab.errors import InputError
from scsc_lab.provenance import RunInfo
from scsc_lab.records import grouped
from scsc_lab.report.document import Block, Bullets, Details, Document, Grid, Paragraph, Picture
from scsc_lab.report.tables import Column, Table
from scsc_lab.units import code_spans, one_line

PREAMBLE = r"\usepackage{booktabs,graphicx}"
"""What a document needs to take these tables in."""

_MOST_COLUMNS, _COLUMN, _SIGN, _GAP = 6, 229.0, 4.6, 8.0
"""Columns of a table in one column of a paper; its width, that of a digit and of the gap between columns, in points."""

_NOTE_SIGNS = {"table": 150, "table*": 320}
"""Characters of notes that fill three lines below a table; further ones are comments."""

_ABOUT_THE_TOOL = re.compile(r"`|BUSY MACHINE|(?<!\w)--[a-z]")
_TOOL = re.compile(r"[;,]? ?(?:counted )?as by `scsc-lab[^`]*`")
_ENDS = (".", "!", "?")
_SENTENCE = re.compile(r"(?<=[.!?]) (?=[A-Z×])")

# fmt: off
_SYMBOLS = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "`": r"\textasciigrave{}", '"': "''", "[": "{[}", "]": "{]}", "*": "{*}",
    "×": r"$\times$", "−": r"$-$", "±": r"$\pm$", "≥": r"$\geq$", "≤": r"$\leq$", "≈": r"$\approx$", "≠": r"$\neq$",
    "→": r"$\to$", "←": r"$\leftarrow$", "·": r"$\cdot$", "∞": r"$\infty$", "²": "$^2$", "³": "$^3$", "°": r"$^\circ$",
    "–": "\0", "—": "\0-", "…": r"\ldots{}", "“": "``", "”": "''", "‘": "`", "’": "'", "½": "1/2", "√": r"$\surd$",
    "§": r"\S{}", "†": r"\dag{}", "•": r"$\bullet$", "µ": r"$\mu$", "ß": r"\ss{}", "ø": r"\o{}", "Ø": r"\O{}",
    "æ": r"\ae{}", "Æ": r"\AE{}", "ł": r"\l{}", "Ł": r"\L{}", "ı": r"\i{}", "\u00a0": "~", "\u202f": "~",
}
# fmt: on
_GREEK = dict(
    zip(
        "αβγδεζηθικλμνξπρςστυφχψωΓΔΘΛΞΠΣΥΦΨΩ",
        "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho varsigma sigma tau upsilon "
        "phi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega".split(),
        strict=True,
    )
)
_ACCENTS = {"\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0308": '"', "\u030a": "r", "\u0327": "c"}
_ACCENTS |= {"\u030c": "v", "\u0304": "=", "\u0307": ".", "\u0306": "u", "\u030b": "H", "\u0328": "k"}


def render(table: Table, run: RunInfo, *, caption: str = "", label: str = "", bold_best: bool = False) -> str:
    r"""Return a booktabs table with caption, label and notes, and one such table for each detail; see :func:`of`.

    A document that takes it in needs :data:`PREAMBLE`. Equal headings get the name of the column before.
    """
    caption = caption or (table.compact or table).title or f"Measured by `{run.command}`"
    return of(table, caption, label, bold_best=bold_best)


def of(table: Table, caption: str = "", label: str = "", *, bold_best: bool = False) -> str:
    r"""Return a table in its compact form if it has one, and one for each detail, with a caption and a label.

    Args:
        table: the table.
        caption: its caption, as plain text. Default: the table's title.
        label: what ``\ref`` names it by; details have it with a number behind. Default: one made from the caption.
        bold_best: whether the best value of each column is bold, among the networks of one baseline.

    Raises:
        InputError: if the label holds what LaTeX takes for something else.
    """
    check_label(label)
    table = table.compact or table
    titled = replace(table, title=caption or table.title or "Measured by scsc-lab")
    return "% in the preamble: " + PREAMBLE + "\n" + "\n".join(_floats(titled, set(), label, bold_best))


def check_label(label: str) -> None:
    """Raise InputError if a label holds what LaTeX takes for something else."""
    if re.search(r"[^\w:.+-]", label, re.ASCII):
        raise InputError(f"label {label!r}: letters, digits and ':.+-_', e.g. tab:networks")


def _floats(table: Table, labels: set[str], given_label: str = "", bold_best: bool = False) -> list[str]:
    label = base = given_label or _label(table.title)
    number = 1
    while label in labels:
        number += 1
        label = f"{base}-{number}"
    labels.add(label)
    kind = "table" if len(table.columns) <= _MOST_COLUMNS and _width(table) <= _COLUMN else "table*"
    lines = [
        rf"\begin{{{kind}}}[t]",
        r"\centering\small",
        rf"\caption{{{prose(table.title if table.title.endswith(_ENDS) else f'{table.title}.')}}}",
        rf"\label{{{label}}}",
        r"\setlength{\tabcolsep}{4pt}",
        r"\sbox0{%",
        *tabular(table, bold_best=bold_best),
        r"}\ifdim\wd0>\linewidth\resizebox{\linewidth}{!}{\usebox0}\else\usebox0\fi",
        *_notes(table.notes, _NOTE_SIGNS[kind]),
        rf"\end{{{kind}}}",
        "",
    ]
    floats = ["\n".join(lines)]
    for detail in table.details:
        floats += _floats(detail, labels, given_label, bold_best)
    return floats


def _width(table: Table) -> float:
    """Return about how wide a table is set, in points, from the longest text of each column."""
    _, below = _two_rows(table.columns)
    lines = [below, *table.cells()]
    return sum(_SIGN * max(map(len, texts)) + _GAP for texts in zip(*lines, strict=True))


def _notes(notes: Sequence[str], most: int) -> list[str]:
    """Return each note's first sentence in one paragraph of about three lines; others, and on the tool, as comments."""
    shown, comments = list[str](), list[str]()
    for note in notes:
        first, *others = [part for part in _SENTENCE.split(one_line(_TOOL.sub("", note))) if part.strip(". ")] or [""]
        is_short = sum(map(len, [*shown, first])) <= most
        (shown if is_short and not _ABOUT_THE_TOOL.search(first) else comments).append(first)
        comments += others
    paragraph = (
        rf"\par\smallskip\parbox{{\linewidth}}{{\footnotesize\raggedright {prose(' '.join(filter(None, shown)))}}}"
    )
    return [*([paragraph] if any(shown) else []), *(f"% {text(comment)}" for comment in filter(None, comments))]


def tabular(table: Table, *, bold_best: bool = False) -> list[str]:
    """Return the lines of the table's grid; the headings take two rows where columns have a heading together."""
    columns = "".join("r" if column.number else "l" for column in table.columns)
    best = _best(table) if bold_best else set()
    rows = [
        " & ".join(_bold(cell) if (at, place) in best else text(cell) for place, cell in enumerate(cells)) + r" \\"
        for at, cells in enumerate(table.cells())
    ]
    above, below = _two_rows(table.columns)
    return [
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        *above,
        " & ".join(map(text, below)) + r" \\",
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
    ]


def _two_rows(columns: tuple[Column, ...]) -> tuple[list[str], list[str]]:
    """Return the lines of the upper row of headings, none without any, and the headings of the lower row."""
    below = [
        column.heads[1] if column.heads else heading for column, heading in zip(columns, headings(columns), strict=True)
    ]
    if not any(column.heads for column in columns):
        return [], below
    cells, rules, place = list[str](), list[str](), 1
    for head, members in itertools.groupby(columns, lambda column: column.heads[0] if column.heads else ""):
        for width in [len(list(members))] if head else [1 for _ in members]:
            cells.append(rf"\multicolumn{{{width}}}{{c}}{{{text(head)}}}" if head else "")
            rules += [rf"\cmidrule(lr){{{place}-{place + width - 1}}}"] if head else []
            place += width
    return [" & ".join(cells) + r" \\", " ".join(rules)], below


def _best(table: Table) -> set[tuple[int, int]]:
    """Return row and column of the best values of each group of networks with one baseline."""
    whose = [(str(row.get("baseline")), str(row.get("resolution"))) for row in table.rows]
    groups = grouped(range(len(whose)), lambda at: whose[at])
    best: set[tuple[int, int]] = set()
    for place, column in enumerate(table.columns):
        key = column.keys[0]
        for members in groups.values() if column.better else ():
            values = {at: table.rows[at][key] for at in members if table.rows[at].get(key) is not None}
            if len(values) > 1:
                least = (min if column.better == "lower" else max)(values.values())
                best |= {(at, place) for at, value in values.items() if value == least}
    return best


def _bold(cell: str) -> str:
    """Return a cell with its number in bold, without what stands in parentheses behind it."""
    number, bracket, rest = cell.partition(" (")
    return rf"\textbf{{{text(number)}}}" + (f" {text(f'({rest}')}" if bracket else "")


def headings(columns: tuple[Column, ...]) -> list[str]:
    """Return the columns' headings, none twice: a Δ or an arrow that recurs says of what, from the column before."""
    plain = [column.heading for column in columns]
    unique: list[str] = []
    subject = ""
    for column, heading in zip(columns, plain, strict=True):
        if plain.count(heading) > 1 and subject:
            unique.append(f"{heading} {subject}")
        else:
            subject = column.title
            unique.append(heading)
    return unique


def document(page: Document) -> str:
    """Return a document that pdflatex sets as it is; its figures are PDF files beside it."""
    preamble = [r"\documentclass{article}", PREAMBLE, r"\usepackage[margin=2cm]{geometry}"]
    body = [rf"\title{{{text(page.title)}}}", r"\date{}", r"\maketitle"]
    labels: set[str] = set()
    body += [part for block in page.abstract for part in _block(block, labels)]
    for section in page.sections:
        body.append(rf"\section{{{text(section.title)}}}")
        body += [part for block in section.blocks for part in _block(block, labels)]
    return "\n\n".join(["\n".join(preamble), r"\begin{document}", *body, r"\end{document}"]) + "\n"


def _block(block: Block, labels: set[str]) -> list[str]:
    match block:
        case Paragraph():
            return [prose(block.text)]
        case Bullets():
            items = "\n".join(rf"\item {prose(item)}" for item in block.items)
            return [f"\\begin{{itemize}}\n{items}\n\\end{{itemize}}"]
        case Grid(in_file=True):
            return [
                text(f"{block.table.title or block.name}: {len(block.table.rows):,} rows in tables/{block.name}.csv.")
            ]
        case Grid():
            table = block.table.compact or block.table
            titled = table if table.title else replace(table, title=block.name.replace("_", " "))
            return [*_floats(titled, labels), r"\clearpage"]
        case Picture():
            width = r"\includegraphics[width=\linewidth,height=0.8\textheight,keepaspectratio]"
            return [
                f"\\begin{{figure}}[t]\n\\centering\n{width}{{{block.name}.pdf}}\n"
                f"\\caption{{{prose(block.caption)}}}\n\\label{{fig:{block.name}}}\n\\end{{figure}}"
            ]
        case Details():
            inner = [part for folded in block.blocks for part in _block(folded, labels)]
            return [rf"\subsection{{{text(block.summary)}}}", *inner]


def text(value: str) -> str:
    """Return text that LaTeX sets as it is; a character that pdflatex has no sign for is given by its number."""
    return _escaped(one_line(value))


def prose(value: str) -> str:
    """Return a note or a paragraph, in which what stands between two backticks is code."""
    return "".join(
        rf"\texttt{{{_escaped(piece)}}}" if is_code else _escaped(piece) for piece, is_code in code_spans(value)
    )


def _escaped(line: str) -> str:
    return re.sub("-(?=-)", "-{}", "".join(map(_character, line))).replace("\0", "--")


def _label(title: str) -> str:
    return "tab:" + (re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:60] or "scsc-lab")


def _character(character: str) -> str:
    if character in _SYMBOLS:
        return _SYMBOLS[character]
    if character.isascii():
        return character
    if character in _GREEK:
        return rf"$\{_GREEK[character]}$"
    base, *marks = list(unicodedata.normalize("NFKD", character))
    if base.isascii() and base.isprintable():
        if len(marks) == 1 and marks[0] in _ACCENTS:
            return rf"\{_ACCENTS[marks[0]]}{{{base}}}"
        if all(mark.isascii() and mark.isprintable() for mark in marks):
            return "".join(map(_character, (base, *marks)))
    return f"(U+{ord(character):04X})"
