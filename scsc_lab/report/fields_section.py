"""The section of a report on receptive fields: what weights can show, maps, the table, and all stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from scsc_lab.analysis import SHARES, key
from scsc_lab.errors import InputError
from scsc_lab.records import Row, file_name
from scsc_lab.report.document import Block, Details, Grid, Maps, Paragraph, Picture, Section
from scsc_lab.report.fields import TITLE, fields_table, on_weights

if TYPE_CHECKING:
    from scsc_lab.analysis.field import Field

_MAPS_TOGETHER = 8
"""Maps in one picture; more are shared out over a picture per baseline."""


def section(rows: Sequence[Row], networks: Sequence[Row], folder: Path) -> Section:
    """Return the maps, in one picture or in one per baseline where they are many, the table, and all stages.

    Args:
        rows: rows of fields, with those of each stage under ``stages``.
        networks: networks, each with the label of its ``baseline``.
        folder: the report's folder, in which the maps lie.
    """
    drawn = [row for row in rows if "map_file" in row]
    baselines = {row["model"]: str(row.get("baseline") or "") for row in reversed(networks)}
    groups: dict[str, list[Row]] = {}
    for row in drawn:
        groups.setdefault(baselines.get(row["model"], "") if len(drawn) > _MAPS_TOGETHER else "", []).append(row)
    pictures: list[Block] = [Paragraph(text)] if (text := on_weights(rows)) else []
    for baseline, group in groups.items():
        if len(group) > 2 and _are_alike(group):
            pictures.append(Paragraph(_ALIKE.format(number=len(group), name=baseline or group[0]["model"])))
            continue
        whose = f" of {baseline} and its variants" if baseline else ""
        caption = f"{TITLE}{whose}, and the mass within each distance of the centre"
        name = "_".join(["receptive_fields", *([file_name(baseline)] if baseline else [])])
        pictures.append(_picture(name, caption, group, folder))
    table = Grid(fields_table(rows), "receptive_fields")
    return Section(TITLE, (*pictures, table, *(block for row in rows for block in _stages(row, folder))))


_ALIKE = (
    "The {number} fields of {name} and its variants differ by less than 0.1 points in every r(t), so that no picture "
    "shows them: these weights switch the replaced modules off, as a layer scale near zero does."
)


def _are_alike(rows: Sequence[Row]) -> bool:
    """Return whether all fields cover the same shares of the image, to a tenth of a point."""
    values = [[row[key(share)] for row in rows if row.get(key(share)) is not None] for share in SHARES]
    return all(not shares or max(shares) - min(shares) < 0.001 for shares in values)


def _stages(row: Row, folder: Path) -> tuple[Block, ...]:
    """Return picture and table of the fields of a network's stages, folded away; nothing without any."""
    stages = [{"model": row["model"], "resolution": row["resolution"], **stage} for stage in row.get("stages") or ()]
    if not stages:
        return ()
    name, caption = f"stages_of_{file_name(str(row['model']))}", f"{TITLE} of the stages of {row['model']}"
    drawn = [stage for stage in stages if "map_file" in stage]
    picture = [_picture(f"fields_of_{name}", caption, drawn, folder)] if drawn else []
    blocks: tuple[Block, ...] = (*picture, Grid(fields_table(stages), f"receptive_fields_of_{name}"))
    return (Details(f"All stages of {row['model']}", blocks),)


def _picture(name: str, caption: str, rows: Sequence[Row], folder: Path) -> Picture:
    from scsc_lab.report.figures import erf

    maps = [_map(row, folder) for row in rows]
    behind = Maps(tuple(maps), tuple(map(_intervals, rows)))
    return Picture(name, caption, lambda options: erf.draw(maps, options, rows), behind)


def _intervals(row: Row) -> dict[float, tuple[float, float]]:
    ends = {share: (row.get(f"{key(share)}_low"), row.get(f"{key(share)}_high")) for share in SHARES}
    return {share: (low, high) for share, (low, high) in ends.items() if low is not None and high is not None}


def _map(row: Row, folder: Path) -> Field:
    """Return the receptive field whose map a row names.

    Raises:
        InputError: if the file lies outside the folder, cannot be read, or holds several fields.
    """
    from scsc_lab.analysis import mapfile

    fields = mapfile.load(_inside(folder, str(row["map_file"])))
    if len(fields) != 1:
        raise InputError(f"{row['map_file']!r} holds {len(fields)} fields, where its row is about one")
    setting = replace(fields[0].setting, model=str(row["model"]))  # the report may have a shorter name for it
    return replace(fields[0], setting=setting)


def _inside(folder: Path, name: str) -> Path:
    """Return the path of a file in a folder or below it, from a name that comes from elsewhere."""
    try:
        path = (folder / name).resolve()
        if not Path(name).is_absolute() and path.is_relative_to(folder.resolve()) and path != folder.resolve():
            return path
    except (OSError, ValueError, RuntimeError):
        pass
    raise InputError(f"the rows name the file {name!r}, which is not in the report's folder")
