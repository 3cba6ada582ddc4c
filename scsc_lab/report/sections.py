"""The sections of a report on accuracy and on receptive fields: what to beware of first, then pictures and tables."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from scsc_lab import units
from scsc_lab.analysis import SHARES, key
from scsc_lab.analysis.convergence import RULE
from scsc_lab.errors import InputError
from scsc_lab.records import Row, file_name, grouped
from scsc_lab.report import tables
from scsc_lab.report.accuracy import (
    PAIRS_RULE,
    budgets_table,
    caveats,
    difficulty_findings,
    difficulty_table,
    networks_table,
    sentences,
    tuning_notes,
    tuning_table,
)
from scsc_lab.report.document import Block, Bullets, Curves, Details, Grid, Line, Maps, Paragraph, Picture, Section
from scsc_lab.report.fields import TITLE, fields_table, on_weights
from scsc_lab.report.figures import accuracy as figures
from scsc_lab.report.tables import Column, Table

if TYPE_CHECKING:
    from scsc_lab.analysis.field import Field

ACCURACY = "Accuracy, by training"

PROBE = (
    "A probe at small scale, not a reproduction: networks a quarter as wide, drawn images of 64×64 pixels, minutes of "
    "training. It says which way SCSC moves accuracy here, on a task that asks for a large field and for local detail "
    "at once; it says nothing of ImageNet or of faces in photographs, for which the paper's claims stay open."
)
"""What runs of pico networks can and cannot tell."""

DRAWN = ("navon", "faces")
"""Data that the project draws."""

_PICO = re.compile(r"\w+_pico(?!\w)")
_TOLD_BY = ("model", "data", "recipe", "tuned", "epochs", "train_images", "test_images", "batch_size", "seed")


def accuracy_section(networks: Sequence[Row], ablated: Sequence[Row] = (), further: Sequence[Row] = ()) -> Section:
    """Return caveats first, then tables of networks and budgets, figures per baseline, and every run folded away.

    Args:
        networks: networks with their ``runs``, and the changes against the label of their ``baseline``.
        ablated: variants with theirs.
        further: rows of the tables :data:`TABLES`.
    """
    judged = [{**row, "verdict": row.get("accuracy_verdict")} for row in networks]
    groups = grouped(judged, _group)
    budgets, tuned, harder = ([row for row in further if row["table"] == name] for name in TABLES)
    budgets = [{**row, "verdict": row.get("accuracy_verdict", row.get("verdict"))} for row in budgets]
    by_budget = {names: _by_epochs([row for row in budgets if _group(row) == names]) for names in groups}
    warnings = [text for group in groups.values() for text in caveats(group)]
    blocks: list[Block] = [Bullets((*warnings, f"{RULE[0].upper()}{RULE[1:]}."))] if warnings else []
    is_pico = all(_PICO.match(str(row.get("network") or row["model"])) for row in networks)
    if is_pico and all(run["data"] in DRAWN for row in networks for run in row["runs"]):
        blocks.append(Paragraph(PROBE))
    findings = [line for rows in by_budget.values() for line in sentences(rows)] + difficulty_findings(harder)
    blocks += [Bullets(tuple(findings))] if findings else []
    notes = (f"{PAIRS_RULE} Accuracy of navon: both letters right.",)
    blocks.append(Grid(networks_table(judged, notes), "accuracy"))
    blocks += [Grid(budgets_table(budgets), "budgets")] if budgets else []
    ordered = {names: sorted(rows, key=lambda row: row["model"] != row["baseline"]) for names, rows in groups.items()}
    blocks.append(_seeds(list(ordered.values())))
    if len({row["epochs"] for row in budgets}) > 1:
        caption = "Accuracy against the cost of training, and the paired differences to each baseline, at each budget"
        blocks.append(Picture("budgets", caption, partial(figures.draw_budgets, _by_epochs(budgets))))
    curves: list[Block] = []
    for names, group in ordered.items():
        is_shared = sum(other[0] == names[0] for other in ordered) > 1
        name = file_name("_".join(filter(None, names if is_shared else names[:1])))
        curves.append(_curves(group, names[0], name))
    if tuned:
        blocks.append(Details("Tuning", (Bullets(tuple(tuning_notes(tuned))), Grid(tuning_table(tuned), "tuning"))))
    if harder:
        caption = "The same weights on smaller letters and noisier images, harder to the right; dashed: the baseline"
        picture = Picture("difficulty", caption, partial(figures.draw_difficulty, harder))
        blocks.append(Details("Harder images", (picture, Grid(difficulty_table(harder), "difficulty"))))
    runs = [run for row in [*networks, *budgets, *ablated] for run in row["runs"]]
    unique = list({tuple(str(run.get(key)) for key in _TOLD_BY): run for run in runs}.values())
    return Section(
        ACCURACY,
        (*blocks, Details("Learning curves, and every run", (*curves, Grid(_runs(unique), "runs", in_file=True)))),
    )


TABLES = ("budget", "tuning", "difficulty")
"""Tables of training beside those of networks and variants."""


def _group(row: Row) -> tuple[str, ...]:
    """Return what networks share that are compared with each other: their baseline, data and tuning."""
    run = row["runs"][0]
    return (str(row["baseline"]), str(run["data"]), str(run.get("tuned") or ""))


def _by_epochs(rows: Sequence[Row]) -> list[list[Row]]:
    return [[row for row in rows if row["epochs"] == epochs] for epochs in sorted({row["epochs"] for row in rows})]


def _seeds(groups: Sequence[Sequence[Row]]) -> Picture:
    joined = ", pairs joined" if all(len(group) <= figures.MANY for group in groups) else ""
    caption = f"Each seed a dot{joined}, hollow: the baseline; the difference and its interval, grey where inconclusive"
    return Picture("accuracy_of_seeds", caption, partial(figures.draw, groups))


def _curves(group: Sequence[Row], baseline: str, name: str) -> Picture:
    of_runs = "" if len(group) > figures.MANY else ", bands of one deviation, thin lines: runs"
    caption = f"{baseline} and its variants: means over the seeds{of_runs}"
    behind = Curves("epoch", tuple(line for row in group for run in row["runs"] for line in _lines(row, run)))
    return Picture(f"curves_{name}", caption, partial(figures.curves, group), behind)


def _lines(row: Row, run: Row) -> list[Line]:
    curve = run["curve"]
    points = {"training loss": [(epoch["epoch"], epoch["loss"]) for epoch in curve]}
    for name in dict.fromkeys(name for epoch in curve for name in epoch["accuracy"]):
        judged = [epoch for epoch in curve if name in epoch["accuracy"]]  # long runs are judged rarely
        points[f"{name.replace('_', ' ')} (%)"] = [(epoch["epoch"], epoch["accuracy"][name]) for epoch in judged]
    return [
        Line(
            str(row["model"]), f"seed {run['seed']}", name, tuple(float(x) for x, _ in line), tuple(y for _, y in line)
        )
        for name, line in points.items()
    ]


def _runs(runs: Sequence[Row]) -> Table:
    parts = dict.fromkeys(key for run in runs for key in run if key.endswith("_accuracy"))
    rows = [{**run, "loss": run["curve"][-1]["loss"] if run["curve"] else None} for run in runs]
    columns = (
        tables.MODEL,
        Column("data", "data", number=False),
        Column("seed", "seed"),
        Column("epochs", "epochs"),
        Column("accuracy", "accuracy", units.decimal, unit="%"),
        *(Column(key, key.removesuffix("_accuracy"), units.decimal, unit="%") for key in parts),
        Column("loss", "last loss", units.decimal),
        Column("seconds", "seconds", units.decimal),
        Column("images_per_second", "images/s", units.decimal),
        Column("train_macs", "MACs spent", units.giga, unit="G"),
        Column("status", "status", number=False),
    )
    notes = (
        "Seconds include pauses and other work of the machine, and are no measure of speed: runs were made side by "
        "side and at different times. MACs are exact.",
    )
    return Table(tables.filled(columns, rows), tuple(rows), "Every run", notes=notes)


_MAPS_TOGETHER = 8
"""Maps in one picture; more are shared out over a picture per baseline."""


def fields_section(rows: Sequence[Row], networks: Sequence[Row], folder: Path) -> Section:
    """Return the maps, in one picture or in one per baseline where they are many, the table, and all stages.

    Args:
        rows: rows of fields, with those of each stage under ``stages``.
        networks: networks, each with the label of its ``baseline``.
        folder: the report's folder, in which the maps lie.
    """
    drawn = [row for row in rows if "map_file" in row]
    baselines = {row["model"]: str(row.get("baseline") or "") for row in reversed(networks)}
    groups = grouped(drawn, lambda row: baselines.get(row["model"], "") if len(drawn) > _MAPS_TOGETHER else "")
    pictures: list[Block] = [Paragraph(text)] if (text := on_weights(rows)) else []
    for baseline, group in groups.items():
        if len(group) > 2 and _are_alike(group):
            pictures.append(Paragraph(_ALIKE.format(number=len(group), name=baseline or group[0]["model"])))
            continue
        whose = f" of {baseline} and its variants" if baseline else ""
        caption = f"{TITLE}{whose}, and the mass within each distance of the centre"
        name = "_".join(["receptive_fields", *([file_name(baseline)] if baseline else [])])
        pictures.append(_picture_of_fields(name, caption, group, folder))
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
    picture = [_picture_of_fields(f"fields_of_{name}", caption, drawn, folder)] if drawn else []
    blocks: tuple[Block, ...] = (*picture, Grid(fields_table(stages), f"receptive_fields_of_{name}"))
    return (Details(f"All stages of {row['model']}", blocks),)


def _picture_of_fields(name: str, caption: str, rows: Sequence[Row], folder: Path) -> Picture:
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
