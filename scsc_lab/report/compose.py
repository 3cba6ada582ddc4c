"""From rows to a document, by rules, and to a folder: README.md, tables for a paper, figures, a page to explore."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from scsc_lab import files, units
from scsc_lab.records import Row, file_name, grouped
from scsc_lab.report import (
    abstract,
    comparison,
    fields,
    findings,
    latency,
    method,
    parts,
    tables,
)
from scsc_lab.report.document import (
    Block,
    Bullets,
    Details,
    Document,
    Grid,
    Notes,
    Paragraph,
    Picture,
    Section,
    unfolded,
)
from scsc_lab.report.figures import style
from scsc_lab.report.names import effect, numbered, task
from scsc_lab.report.render import columns_to_csv, html, latex, markdown
from scsc_lab.report.sections import ACCURACY, TABLES, accuracy_section, fields_section
from scsc_lab.report.tables import Column, Table
from scsc_lab.settings import Drawing
from scsc_lab.units import one_line

_FEWEST_POINTS = 2
_MOST_IN_FOREST = 40
_REPEATED = ("Inferred, ", "Verdict on accuracy: ")
_SELDOM = ("trainable", "memory")
"""Columns that every count fills, and that a report has only where they are asked for."""

_MANY = 4
"""More networks than these against one baseline have a picture of their own."""


def document(rows: Sequence[Row], name: str, columns: Mapping[str, Column], notes: Notes, folder: Path) -> Document:
    """Return the document that rows make.

    Args:
        rows: rows of :func:`scsc_lab.experiments.report_rows.rows`, the run's first.
        name: what the report is called.
        columns: the columns of every metric, by word.
        notes: returns what must be known to read rows of some columns, from the rows and the columns' words.
        folder: where the maps lie that rows name.

    Raises:
        InputError: if a row lacks something, or a map cannot be read.
    """
    rows, key = numbered(rows)
    run, claimed, drawn = rows[0], _of(rows, "claim"), _of(rows, "field")
    fused = _of(rows, "deploy")
    trained = [row for row in drawn if row.get("weights") == fields.TRAINED]
    networks = fields.joined(_of(rows, "comparison"), [row for row in drawn if row not in trained])
    requested = [column for key, column in columns.items() if key in run["columns"]]
    filled = list(tables.filled(requested, networks))
    sections = [Section("Numbered settings", (Grid(key, "settings"),))] if key else []
    answers = findings.findings_table(claimed, networks, filled, ", before training" if trained else "").rows
    if trained:
        after = fields.joined(_of(rows, "comparison"), trained)
        of_fields = [column for column in columns.values() if column.question and str(column.key) in findings.FIELD]
        answers += findings.findings_table((), after, of_fields, ", after training").rows
    if answered := findings.by_network(answers):
        groups = {str(group[0]["baseline"]): [str(row["model"]) for row in group] for group in _large_groups(networks)}
        short, full = findings.summed(answered, groups)
        notes_ = (*findings.NOTES, findings.SUMMED) if full else findings.NOTES
        blocks: list[Block] = [Grid(Table(findings.COLUMNS, short, notes=notes_), "findings")]
        if full:
            blocks.append(Details("Every answer", (Grid(Table(findings.COLUMNS, full), "every_finding"),)))
        heading = f"{len(short)} questions and their answers" if len(short) > 1 else "One question and its answer"
        sections.append(Section("Findings", (Details(heading, tuple(blocks)),)))
    if claimed:
        sections.append(Section(findings.CLAIMS, (Grid(_without_repeated(findings.claims_table(claimed)), "claims"),)))
    if networks:
        main = [column for column in filled if not column.apart]
        table = comparison.wide_table(networks, main, notes(networks, [column.word for column in main]))
        blocks = [Grid(_without_repeated(table), "networks"), *_trade_offs(networks, main)]
        sections += [Section(findings.NETWORKS, tuple(blocks)), *method.section(networks, main)]
    ablated = _of(rows, "ablation")
    if with_runs := [row for row in _of(rows, "comparison") if row.get("runs")]:
        further = [row for row in rows if row["table"] in TABLES]
        sections.append(accuracy_section(with_runs, [row for row in ablated if row.get("runs")], further))
    sections += latency.sections(networks, fused, _of(rows, "noise"))
    if divided := _of(rows, "part"):
        sections.append(parts.section(divided))
    if drawn:
        sections.append(fields_section(drawn, networks, folder))
    if ablated:
        bought = " and buys" if any(row.get("runs") for row in ablated) else ""
        sections.append(
            Section(f"What each part of SCSC costs{bought}", _ablations(ablated, list(columns.values()), notes))
        )
    sections.append(Section("How the numbers were obtained", (Bullets(tuple(method.sentences(rows))),)))
    if inferred := method.inferred(rows):
        sections.append(Section("What is inferred", (Bullets(tuple(inferred)),)))
    sections.append(Section("Not measured", (Bullets(tuple(method.unmeasured(rows))),)))
    summary = abstract.blocks(rows, networks, filled)
    titles = [findings.NETWORKS, ACCURACY]
    if not any(row.get("median_seconds") for row in networks):
        titles.reverse()
    if pictures := _pictures_of(sections, titles):
        lead = pictures[0]
        sections = [_without(section, lead) for section in sections]
        summary = (*summary[:-1], lead, summary[-1])
    return Document(abstract.title(networks, one_line(name)), summary, tuple(sections))


def _pictures_of(sections: Sequence[Section], titles: Sequence[str]) -> list[Picture]:
    """Return the pictures that stand unfolded in sections of some titles, in the order of the titles."""
    ordered = [section for title in titles for section in sections if section.title == title]
    return [block for section in ordered for block in section.blocks if isinstance(block, Picture)]


def _without(section: Section, picture: Picture) -> Section:
    return replace(section, blocks=tuple(block for block in section.blocks if block is not picture))


def _without_repeated(table: Table) -> Table:
    """Return a table without the notes that other sections have: on inferred settings and on verdicts."""
    compact = table.compact and _without_repeated(table.compact)
    notes = tuple(note for note in table.notes if not note.startswith(_REPEATED))
    return replace(table, notes=notes, compact=compact)


def _trade_offs(networks: Sequence[Row], columns: Sequence[Column]) -> list[Block]:
    """Return pictures: of many networks against one baseline their changes, of others columns against MACs."""
    from scsc_lab.report.figures import forest, scatter

    pictures: list[Block] = []
    groups = _large_groups(networks)
    for group in groups:
        baseline = str(group[0]["model"])
        changing = [column for column in columns if column.change is not None and _differs(column, group)]
        lines = group[1:]
        whose = "each network"
        if len(lines) > _MOST_IN_FOREST:
            lines = sorted(lines, key=effect, reverse=True)[:_MOST_IN_FOREST]
            whose = f"each of the {_MOST_IN_FOREST} networks with the largest effect on time"
        caption = f"What {whose} changes of {baseline}, with 95 % intervals"
        draw = partial(forest.draw_networks, [group[0], *lines], changing)
        pictures.append(Picture(f"changes_of_{file_name(baseline)}", caption, draw))
    in_groups = {id(row) for group in groups for row in group}
    ungrouped = [row for row in networks if id(row) not in in_groups]
    for column in columns:
        complete = [row for row in ungrouped if row.get(str(column.key)) is not None and row.get(str(tables.MACS.key))]
        alike = [row for row in complete if task(row) == task(complete[0])]
        is_drawn = column.is_timed or column.better == "higher" or (column.question and not column.better)
        if is_drawn and len(alike) >= _FEWEST_POINTS and any(row.get("baseline") != row["model"] for row in alike):
            caption = f"{column.quantity} against MACs at {units.size(alike[0]['resolution'])}"
            draw = partial(scatter.draw, alike, tables.MACS, column)
            pictures.append(Picture(f"{file_name(column.word)}_against_macs", caption, draw))
    return pictures


def _differs(column: Column, group: Sequence[Row]) -> bool:
    """Return whether any network of a group differs in a column from the first."""
    assert column.change is not None
    return any(abs(value or 0.0) > 100 * findings.SAME for value, *_ in map(column.change.scaled, group[1:]))


def _large_groups(networks: Sequence[Row]) -> list[list[Row]]:
    """Return the baselines that many networks are compared with, each before those."""
    groups = grouped(networks, lambda row: str(row["baseline"])).values()
    return [sorted(group, key=lambda row: row["model"] != row["baseline"]) for group in groups if len(group) > _MANY]


def _ablations(rows: Sequence[Row], columns: Sequence[Column], notes: Notes) -> tuple[Block, ...]:
    """Return the studies of every network: those of the first in full, of the others folded away."""
    blocks_of_all: list[Block] = []
    for number, (model, variants) in enumerate(grouped(rows, lambda row: str(row["baseline"])).items()):
        blocks = _studies(model, variants, columns, notes)
        blocks_of_all += [Details(f"The same studies of {model}", blocks)] if number else blocks
    return tuple(blocks_of_all)


def _studies(model: str, rows: Sequence[Row], columns: Sequence[Column], notes: Notes) -> tuple[Block, ...]:
    from scsc_lab.report.figures import forest

    main = [column for column in columns if column.word not in _SELDOM]
    main = [column for column in main if column.question or str(column.key) not in findings.FIELD]
    changing = [column for column in main if column.change is not None and tables.filled([column], rows)]
    full = rows[0]
    absolute = ", ".join(
        f"{column.quantity} {column.cell(full)} {column.unit}".rstrip() for column in changing if column.cell(full)
    )
    settings = f" Its modules: {one_line(str(full['module']))}." if full.get("module") else ""
    table = comparison.changes_table(rows, changing, notes(rows, [column.word for column in changing]))
    compared = comparison.with_changes(rows, changing)
    name = f"ablation_{file_name(model)}"
    draw = partial(forest.draw, compared, changing)
    return (
        Paragraph(f"{model} in full: {absolute}.{settings} Below, what each variant changes of it."),
        Picture(name, f"{model}: every study, on one scale", draw),
        Grid(table, name),
    )


def _of(rows: Sequence[Row], table: str) -> list[Row]:
    return [row for row in rows if row["table"] == table]


_DOTS_PER_INCH = 200


def _label(name: str) -> str:
    r"""Return what ``\ref`` names a table by, from the name of its file."""
    return f"tab:{re.sub(r'[^a-zA-Z0-9_.+-]', '-', name)}"


def write(
    folder: Path,
    rows: Sequence[Row],
    name: str,
    columns: Mapping[str, Column],
    notes: Notes,
    source: Path | None = None,
    options: Drawing = style.PLAIN,
    page: bool = False,
) -> list[Path]:
    """Write a report into a folder, each file whole or not at all; return their paths, README.md first.

    Args:
        folder: where they go.
        rows: rows of :func:`scsc_lab.experiments.report_rows.rows`, the run's first.
        name: what the report is called.
        columns: the columns of every metric, by word.
        notes: returns what must be known to read rows of some columns, from the rows and the columns' words.
        source: folder of the rows and of the maps that they name. Default: ``folder``.
        options: width and titles of the figures.
        page: whether ``index.html``, the same as one page to explore, is written too.

    Raises:
        InputError: if a file cannot be written, or what the page needs is not installed.
    """
    composed = document(rows, name, columns, notes, source or folder)
    texts = {folder / "README.md": markdown.document(composed)}
    for title, blocks in (
        (composed.title, composed.abstract),
        *((part.title, part.blocks) for part in composed.sections),
    ):
        for grid in (block for block in unfolded(blocks) if isinstance(block, Grid)):
            caption = (grid.table.compact or grid.table).title or title
            texts[folder / "tables" / f"{grid.name}.tex"] = latex.of(grid.table, caption, _label(grid.name))
            if grid.in_file:
                texts[folder / "tables" / f"{grid.name}.csv"] = columns_to_csv(grid.table)
    figures = {block.name: block.draw(options) for block in composed.blocks() if isinstance(block, Picture)}
    for path, text in texts.items():
        files.write(path, text)
    drawn = []
    for stem, figure in figures.items():
        for suffix in (".png", ".pdf"):
            drawn.append(folder / f"{stem}{suffix}")
            style.save(figure, drawn[-1], palette=True, dots_per_inch=_DOTS_PER_INCH)
    if page:
        pictures = {stem: (folder / f"{stem}.png").read_bytes() for stem in figures}
        drawn.append(folder / "index.html")
        files.write(drawn[-1], html.document(composed, columns, notes, pictures))
    return [*texts, *drawn]
