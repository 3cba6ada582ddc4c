"""Settings of what is shown: tables, their files, and figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scsc_lab.settings import texts
from scsc_lab.settings.declaration import Declared, setting

PANELS = ("maps", "profiles", "both")
"""Parts of a figure of receptive fields."""


@dataclass(frozen=True)
class Output(Declared):
    """Files and formats of rows and tables.

    Raises:
        InputError: if a value is out of bounds.
    """

    format: str | None = setting(
        None,
        "Format of the table. Default: by the suffix of --output, else table.",
        "--format",
        choices="scsc_lab.report.render:FORMATS",
        panel="Output",
        decides=False,
    )
    output: Path | None = setting(
        None,
        "Write the table to this file. Its suffix chooses the format.",
        "-o/--output",
        metavar="FILE",
        panel="Output",
        decides=False,
    )
    store: Path | None = setting(
        None,
        "Keep experiments and rows in this file, and skip measurements that it has.",
        "--store",
        metavar="FILE",
        panel="Output",
        decides=False,
    )
    caption: str = setting(
        "",
        "Caption of a LaTeX table. Default: one sentence from its content.",
        "--caption",
        metavar="TEXT",
        panel="Output",
        decides=False,
    )
    tex_label: str = setting(
        "",
        "Label of a LaTeX table, for \\ref. Default: one from the caption.",
        "--tex-label",
        metavar="LABEL",
        panel="Output",
        decides=False,
    )


@dataclass(frozen=True)
class PaperTable(Output):
    """Where the table of a comparison goes, and how LaTeX sets it."""

    bold_best: bool = setting(
        False,
        "Set the best value of each baseline's group in bold (LaTeX).",
        "--bold-best",
        panel="Output",
        decides=False,
    )


@dataclass(frozen=True)
class Drawing(Declared):
    """Settings of a figure.

    Raises:
        InputError: if a value is out of bounds.
    """

    width: float | None = setting(
        None,
        "Width of figures: column (3.3 in), page (6.9 in), or a length such as 84mm.",
        "--width",
        low=texts.SMALLEST_INCHES,
        high=texts.LARGEST_INCHES,
        metavar="WIDTH",
        parse=texts.width,
        panel="Output",
        decides=False,
    )
    titles: bool = setting(
        True,
        "Show titles in figures, or leave them to a caption.",
        "--titles/--no-titles",
        panel="Output",
        decides=False,
    )
    panels: str = setting(
        "both", "Parts of figures of receptive fields.", "--panels", choices=PANELS, panel="Output", decides=False
    )
