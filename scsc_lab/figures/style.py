"""How every figure looks, and how it becomes a file: whole or not at all."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scsc_lab import store
from scsc_lab.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMN_INCHES = 3.5
"""Width of one column of a two-column paper, in inches."""

PAGE_INCHES = 7.16
"""Width of both columns of a two-column paper, in inches."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Colours that colour-blind readers can tell apart (Okabe and Ito)."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
"""Markers that go with the colours, for readers without colour."""

MAP = "magma"
"""Perceptually uniform colour map for fields."""

SUFFIXES = (".png", ".pdf", ".svg")
"""Kinds of file a figure can be written to."""

_STYLE: Any = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.2,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 300,
    "svg.hashsalt": "scsc-lab",
    "pdf.fonttype": 42,
    "text.parse_math": False,
}


def new(width_inches: float, height_inches: float, **subplots: Any) -> tuple[Figure, Any]:
    """Return a figure and its axes (as ``plt.subplots`` does), in the house style, without a display."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width_inches, height_inches))
        FigureCanvasAgg(figure)
        return figure, figure.subplots(**subplots)


def mosaic(width_inches: float, height_inches: float, places: Any, **options: Any) -> tuple[Figure, dict[str, Any]]:
    """Return a figure and its axes by name (as ``plt.subplot_mosaic`` does), in the house style, without a display."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width_inches, height_inches))
        FigureCanvasAgg(figure)
        return figure, figure.subplot_mosaic(places, **options)


def check(path: Path) -> None:
    """Raise InputError if a figure cannot be written under this name; to be asked before anything is measured."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"cannot draw {str(path)!r}: a figure's suffix is one of {', '.join(SUFFIXES)}")
    if path.is_dir():
        raise InputError(f"cannot write {path}: it is a folder; name a file")


def save(figure: Figure, path: Path) -> None:
    """Write a figure whole or not at all; the same figure gives the same bytes.

    Raises:
        InputError: if it cannot be written there, or the suffix is of no figure.
    """
    import matplotlib

    check(path)
    kind = path.suffix.lower().removeprefix(".")
    metadata = {"png": {"Software": None}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}[kind]
    buffer = io.BytesIO()
    with matplotlib.rc_context(_STYLE):
        figure.savefig(buffer, format=kind, metadata=metadata)
    store.write(path, buffer.getvalue())
