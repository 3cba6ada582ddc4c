"""How every figure looks, and how it becomes a file: whole or not at all."""

from __future__ import annotations

import functools
import io
import math
import os
import sys
import warnings
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scsc_lab import files
from scsc_lab.errors import InputError
from scsc_lab.records import Row
from scsc_lab.report import names
from scsc_lab.settings import Drawing
from scsc_lab.settings.texts import COLUMN_INCHES as COLUMN_INCHES
from scsc_lab.settings.texts import PAGE_INCHES as PAGE_INCHES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NARROW_INCHES = 4.0
"""Width up to which panels stand below each other."""

POINTS = 7.0
"""Size of the smallest letters, in points, at the width that a figure is drawn for."""

LEVELS = 64
"""Colours of a map's scale: enough for the eye, few enough for small files."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Colours that colour-blind readers can tell apart (Okabe and Ito)."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
"""Markers that go with the colours, for readers without colour."""

_SHADES = (0.0, -0.55, 0.3, -0.8, -0.3, 0.45)
"""Shares of white, or of black below zero, in the colours of networks of one hue."""

_SOLID: tuple[Any, ...] = ("-", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (9, 2)), (0, (1, 2.5)))
_DASHED: tuple[Any, ...] = ("--", (0, (6, 2)), (0, (2, 1.5)), (0, (9, 2)))
"""Dashes that go with the shades, for readers without colour: of what has a module put in, and of baselines."""

TO_THE_RIGHT: Any = {"xytext": (4, 0), "textcoords": "offset points", "va": "center", "fontsize": POINTS}
"""Place of a value that is written behind its mark, as ``annotate`` takes it."""

SUFFIXES = (".png", ".pdf", ".svg")
"""Kinds of file a figure can be written to."""

_STYLE: Any = {
    "font.size": POINTS,
    "axes.titlesize": 8,
    "axes.labelsize": POINTS,
    "xtick.labelsize": POINTS,
    "ytick.labelsize": POINTS,
    "legend.fontsize": POINTS,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.labelpad": 2,
    "xtick.major.pad": 2,
    "ytick.major.pad": 2,
    "lines.linewidth": 1.2,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "scsc-lab",
    "pdf.fonttype": 42,
    "text.parse_math": False,
}

PLAIN = Drawing()
"""A figure with default settings."""


def figure(width_inches: float, height_inches: float) -> Figure:
    """Return a figure without axes, in the house style, without a display."""
    if "matplotlib" not in sys.modules and "MPLBACKEND" in os.environ:
        os.environ["MPLBACKEND"] = "agg"  # a notebook's shell may name a backend that is not installed here
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with applied():
        drawn = Figure(figsize=(width_inches, height_inches))
        FigureCanvasAgg(drawn)
        return drawn


def new(width_inches: float, height_inches: float, **subplots: Any) -> tuple[Figure, Any]:
    """Return a figure and its axes (as ``plt.subplots`` does), in the house style, without a display."""
    drawn = figure(width_inches, height_inches)
    with applied():
        made = drawn.subplots(**subplots)
    for axes in drawn.axes:
        axes._repr_png_ = functools.partial(_png, drawn)  # type: ignore[attr-defined]  # what a notebook looks for
    return drawn, made


def grid(
    count: int, columns: int, width_inches: float, row_inches: float, *, key_inches: float = 0.0, **subplots: Any
) -> tuple[Figure, Any]:
    """Return a figure of ``count`` panels, and its axes by row and column; places left over are empty.

    Its height is that of the rows and of the key and titles, ``key_inches``.
    """
    rows = max(1, math.ceil(count / columns))
    shape = {"nrows": rows, "ncols": columns, "squeeze": False}
    drawn, axes = new(width_inches, rows * row_inches + key_inches, **shape, **subplots)
    for unused in axes.flat[count:]:
        unused.set_axis_off()
    return drawn, axes


def _png(drawn: Figure) -> bytes:
    content = io.BytesIO()
    drawn.savefig(content, format="png")
    return content.getvalue()


def applied() -> AbstractContextManager[None]:
    """Return a context in which what is drawn has the house style."""
    import matplotlib

    return matplotlib.rc_context(_STYLE)


def colour(number: int) -> str:
    """Return the colour of the line or network of a number, counted from 0."""
    return COLOURS[number % len(COLOURS)]


def mark(hue: int, shape: int, size: float, *, hollow: bool = False) -> dict[str, Any]:
    """Return a mark without a line, as matplotlib takes it: the colour of a hue, the marker of a shape."""
    inside = "white" if hollow else colour(hue)
    marker = MARKERS[shape % len(MARKERS)]
    return {"color": colour(hue), "marker": marker, "markerfacecolor": inside, "markersize": size, "linestyle": ""}


@dataclass(frozen=True)
class Look:
    """How a network is drawn: a colour, dashes of its line, a marker, and the colour inside it."""

    colour: str
    dashes: Any
    marker: str
    face: str

    @property
    def mark(self) -> dict[str, Any]:
        """The marker, as matplotlib takes it."""
        return {"color": self.colour, "marker": self.marker, "markerfacecolor": self.face}

    @property
    def line(self) -> dict[str, Any]:
        """The line without marks, as matplotlib takes it."""
        return {"color": self.colour, "linestyle": self.dashes}


def looks(rows: Sequence[Row]) -> list[Look]:
    """Return the look of each network: a hue and a marker per backbone, a shade per network of it.

    Baselines are hollow and dashed, what has a module put in is filled and solid.
    """
    from matplotlib.colors import to_hex, to_rgb

    made: list[Look] = []
    members: Counter[tuple[int, bool]] = Counter()
    for row, hue in zip(rows, names.hues(rows), strict=True):
        is_baseline = names.is_baseline(row)
        place = members[hue, is_baseline]
        members[hue, is_baseline] += 1
        share = _SHADES[place % len(_SHADES)]
        red, green, blue = (part * (1 - abs(share)) + max(share, 0.0) for part in to_rgb(colour(hue)))
        shade = to_hex((red, green, blue))
        dashes = _DASHED if is_baseline else _SOLID
        face = "white" if is_baseline else shade
        made.append(Look(shade, dashes[place % len(dashes)], MARKERS[hue % len(MARKERS)], face))
    return made


def key(figure: Any, handles: Sequence[Any], labels: Sequence[str], place: str = "upper") -> None:
    """Write a key above or below a figure, in as many columns as its width has room for."""
    widest = max(map(len, labels), default=0) * POINTS * 0.58 / 72 + 0.5
    columns = max(1, min(len(labels), int(figure.get_figwidth() / widest)))
    figure.legend(handles, labels, loc=f"outside {place} center", ncols=columns, columnspacing=1.2)


def colours_of_map() -> Any:
    """Return the colour map for fields, of :data:`LEVELS` colours; what is clipped has the colours of the ends."""
    import matplotlib

    return matplotlib.colormaps["magma"].resampled(LEVELS)


def halo() -> list[Any]:
    """Return the effects that set a light line or letter off from any ground: a dark rim."""
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=2.0, foreground="black")]


def plain_log(axis: Any, subs: Sequence[float] = (1.0,)) -> None:
    """Write the ticks of a logarithmic axis as plain numbers, at these multiples of each power of ten.

    matplotlib's own labels are formulas, which this style leaves as text, so that no model name becomes one.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def check(path: Path) -> None:
    """Raise InputError if a figure cannot be written under this name; to be asked before anything is measured."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"cannot draw {str(path)!r}: a figure's suffix is one of {', '.join(SUFFIXES)}")
    files.check_writable(path)


def save(figure: Figure, path: Path, *, palette: bool = False, dots_per_inch: int = 300) -> None:
    """Write a figure whole or not at all; the same figure gives the same bytes.

    Args:
        figure: the figure.
        path: where to; the suffix says which kind of file.
        palette: whether a PNG holds 256 colours at most, which makes those of rough maps three times smaller.
        dots_per_inch: resolution, where the file is made of dots: 300 for print.

    Raises:
        InputError: if it cannot be written there, or the suffix is of no figure.
    """
    import matplotlib

    check(path)
    kind = path.suffix.lower().removeprefix(".")
    metadata = {"png": {"Software": None}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}[kind]
    buffer = io.BytesIO()
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        lacking = _complete_fonts(figure)
        if lacking and kind != "svg":
            remedy = "install one, such as Noto Sans CJK, or write an .svg"
            warnings.warn(f"{path}: no installed font has {lacking}, drawn as boxes: {remedy}", stacklevel=2)
        matplotlib.rcParams["svg.fonttype"] = "none" if lacking else "path"  # text, for the fonts of the reader
        warnings.filterwarnings("ignore", message="Glyph")  # matplotlib's word for what is reported above
        figure.savefig(buffer, format=kind, metadata=metadata, dpi=dots_per_inch)
    if palette and kind == "png":
        buffer = _with_palette(buffer)
    files.write(path, buffer.getvalue())


def _complete_fonts(figure: Figure) -> str:
    """Give texts further fonts for the characters that theirs lacks; return the characters that no font has."""
    from matplotlib import font_manager
    from matplotlib.text import Text

    texts: list[Text] = figure.findobj(Text)
    family = font_manager.FontProperties().get_family()
    default = font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap()
    lacking = {ord(letter) for text in texts for letter in text.get_text() if ord(letter) >= 32} - default.keys()
    fonts: list[str] = []
    installed = [entry for entry in font_manager.fontManager.ttflist if "Last Resort" not in entry.name]  # boxes
    for entry in installed if lacking else ():
        if lacking and (present := lacking & font_manager.get_font(entry.fname).get_charmap().keys()):
            fonts.append(entry.name)
            lacking -= present
    for text in texts if fonts else ():
        text.set_fontfamily([*family, *fonts])
    return "".join(map(chr, sorted(lacking)))


def _with_palette(png: io.BytesIO) -> io.BytesIO:
    """Return a PNG of 256 colours, among them those of the scale of maps, so that no two of its steps become one."""
    import numpy as np
    from PIL import Image

    with Image.open(png) as picture:
        dots = picture.info.get("dpi", (300, 300))
        pixels_in_colour = picture.convert("RGB")
    steps = np.rint(255 * colours_of_map()(np.arange(LEVELS))[:, :3]).astype(np.int64)
    quantized = pixels_in_colour.quantize(256 - LEVELS, dither=Image.Dither.NONE)
    further = np.asarray(quantized.getpalette(), np.int64).reshape(-1, 3)
    palette = np.concatenate([steps, further])[:256]
    pixels = np.asarray(pixels_in_colour, np.int64) @ (65536, 256, 1)
    colours, where = np.unique(pixels, return_inverse=True)
    apart = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=1)
    distances = (palette**2).sum(1) - 2 * apart @ palette.T  # squared, less what is the same for all of a row
    nearest = np.argmin(distances, axis=1).astype(np.uint8)
    reduced = Image.fromarray(nearest[where.reshape(pixels.shape)], mode="P")
    reduced.putpalette(palette.astype(np.uint8).tobytes())
    smaller = io.BytesIO()
    reduced.save(smaller, format="png", optimize=True, dpi=dots)
    return smaller
