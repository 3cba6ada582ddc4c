"""``scsc-lab flops``: parameters, MACs, activations and bytes, cross-checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

import typer

from scsc_lab import units
from scsc_lab.cli import running
from scsc_lab.cli.networks import Baselines, Networks, Pairs
from scsc_lab.cli.parameters import Without, command, option
from scsc_lab.errors import InputError
from scsc_lab.experiments.compare import comparison
from scsc_lab.experiments.experiment import Measure
from scsc_lab.metrics.size import Counting, assumed, partial_counts
from scsc_lab.records import PARTIAL, Row
from scsc_lab.report import tables
from scsc_lab.report.parts import FLOPS, MEMORY, MEMORY_RULE, TRAINABLE
from scsc_lab.report.parts import columns as part_columns
from scsc_lab.report.tables import Column, Table
from scsc_lab.settings import DTYPES, Execution, Output, texts

By = Literal["operator", "module", "stage"]
"""Parts of a network's counts."""

Convention = Literal["macs", "flops"]
"""What operations are counted in."""

_FORWARD = "One forward pass{batch}, evaluation mode"
_STEP = (
    "One training step{batch}: forward, and backward from the network's output to every parameter, none to the image; "
    "without loss and optimizer"
)
_WORDS = ("params", "macs", "activations", "bytes")
_CHANGE_COLUMNS = (
    Column("name", "operator", number=False),
    Column("was", "was", number=False),
    Column("reason", "now", number=False),
    Column("params_difference", "Δ params", units.with_sign(units.mega), unit="M"),
    Column("macs_difference", "Δ MACs", units.with_sign(units.giga), unit="G"),
)
_FLOPS_RULE = (
    "FLOPs: 2 × MACs, one operation per element that an elementwise operator writes, and those of norms: 5 per "
    "element, 4 without weights, BatchNorm 2 or 1, softmax 5. Most papers print MACs as FLOPs."
)
_OPERATIONS = (
    Column("double_macs", "2 × MACs", units.giga, unit="G", optional=True),
    Column("elementwise", "elementwise", units.giga, unit="G", optional=True),
    Column("norms", "norms", units.giga, unit="G", optional=True),
)
_STEP_COLUMNS = (
    Column("forward_macs", "forward", units.giga, unit="G"),
    Column("backward_macs", "backward", units.giga, unit="G"),
)


@command(first="--by --resolution --transplant --max-macs --output")
def flops(
    networks: Networks,
    execution: Annotated[Execution, Without("device", "dtype", "memory_format", "threads", "streams", "seed")],
    output: Output,
    baseline: Baselines = (),
    pair: Pairs = (),
    by: Annotated[By | None, option("Break each network down.", "--by")] = None,
    depth: Annotated[
        int | None,
        option("Levels of modules, with --by module. Default: 2.", "--depth", low=1, high=100, metavar="N"),
    ] = None,
    convention: Annotated[
        Convention,
        option("flops: 2 × MACs plus elementwise and norm operations, in place of MACs.", "--convention"),
    ] = "macs",
    dtype: Annotated[
        str | None,
        option("Element type of weights and input. Default: the network's.", "--dtype", choices=DTYPES),
    ] = None,
    check: Annotated[bool, option("Cross-check against fvcore.", "--check/--no-check")] = True,
    max_macs: Annotated[
        int | None,
        option("Exit with 1 if a network has more MACs.", "--max-macs", metavar="4.5G", parse=texts.budget),
    ] = None,
    max_params: Annotated[
        int | None,
        option("Exit with 1 if a network has more parameters.", "--max-params", metavar="30M", parse=texts.budget),
    ] = None,
) -> int:
    """Count parameters, MACs, activations and bytes of networks, cross-checked against fvcore.

    Exit code 1: a count is partial, its difference to fvcore is unexplained, or a network is over its budget.
    """
    if depth is not None and by != "module":
        raise InputError("--depth goes with --by module")
    if convention == "flops" and execution.train:
        raise InputError("--convention flops is of the forward pass: leave --train out")
    store = running.opened(output)
    built = networks.build()
    counting = Counting(
        execution.batch, execution.train, check, dtype or "", by or "", depth or 2, changes=bool(networks.transplants())
    )
    roles = built.roles(baseline, pair)
    experiment = comparison(built.networks, _WORDS, [Measure("size", counting)], roles=roles, batch=execution.batch)
    measured = running.measure([experiment], store)
    rows = [{"check": "off", **row} for row in measured.results[0].rows if "macs" in row]
    over = _over_budget(rows, {"macs": max_macs, "params": max_params})
    cost = FLOPS if convention == "flops" else tables.MACS
    table = _breakdown(rows, by, cost) if by else _totals(rows, cost)
    code = running.show(_with_changes(table, rows), output, built, cut=measured.interrupted)
    for line in over:
        typer.echo(line, err=True)
    wrong = any(row["status"] == PARTIAL or row["check"] == "unexplained" for row in rows)
    return code or int(bool(over) or wrong)


def _totals(rows: Sequence[Row], cost: Column) -> Table:
    has_baselines = len({row["baseline"] for row in rows if row["baseline"] != row["model"]}) > 1
    compared, step = len(rows) > 1, _STEP_COLUMNS if rows[0].get("train") else ()
    frozen = [TRAINABLE] if any(row.get("trainable_params", row["params"]) != row["params"] for row in rows) else []
    measured = (tables.PARAMS, *frozen, cost, tables.ACTIVATIONS)
    columns = [column for measure in measured for column in (tables.changed(measure) if compared else (measure,))]
    if cost is FLOPS:
        by_name, at = {row["model"]: row for row in rows}, columns.index(cost)
        rows = [tables.with_change(row, by_name[row["baseline"]], [cost]) for row in rows]
        rows = [{**row, "double_macs": 2 * row["macs"]} for row in rows]
        columns[at:at] = _OPERATIONS
    columns += [] if compared else [replace(tables.BYTES, optional=True), MEMORY]
    against = [Column("baseline", "against", number=False)] if has_baselines else []
    return Table((tables.MODEL, *against, tables.INPUT, *step, *columns), tuple(rows), notes=_notes(rows, cost))


def _breakdown(rows: Sequence[Row], by: str, cost: Column) -> Table:
    rows = list({row["model"]: row for row in rows}.values())
    parts = [
        {
            **{key: row[key] for key in ("model", "resolution", "inputs", "batch", "status") if key in row},
            "by": by,
            **part,
        }
        for row in rows
        for part in row["parts"]
    ]
    columns = [*([tables.MODEL] if len(rows) > 1 else []), *part_columns(by, cost)]
    title = ", ".join(f"{row['model']} at {tables.INPUT.cell(row)}" for row in rows)
    notes = [*_notes(rows, cost), *(note for row in rows for note in _operator_notes(row) if by == "operator")]
    return Table(tuple(columns), tuple(parts), title, tuple(notes))


def _with_changes(table: Table, rows: Sequence[Row]) -> Table:
    """Add a table of what a transplant did to each operator of a network."""
    details = []
    for row in rows:
        if "changes" in row:
            changes = (
                change if change.get("replaced", True) else {**change, "reason": f"stays: {change['reason']}"}
                for change in row["changes"]
            )
            details.append(Table(_CHANGE_COLUMNS, tuple(changes), f"{row['model']}: replacements"))
    return replace(table, details=tuple(details))


def _notes(rows: Sequence[Row], cost: Column) -> tuple[str, ...]:
    batch, train = rows[0]["batch"], rows[0].get("train")
    counted_pass = (_STEP if train else _FORWARD).format(batch=f" of {batch} images" if batch > 1 else "")
    notes = [f"{tables.MACS_RULE}; activations: elements that their operators write. {counted_pass}."]
    if cost is FLOPS:
        notes = [f"{_FLOPS_RULE} Activations: elements that operators with MACs write. {counted_pass}."]
    if len(rows) == 1 and "parts" not in rows[0]:
        notes.append(f"{MEMORY_RULE}. Bytes: read and written by all operators.")
    checked = [row for row in rows if row["check"] != "off"]
    explained = [row["model"] for row in checked if row["check"] == "explained"]
    if explained:
        whose = "" if len(explained) == len(checked) else f" for {', '.join(explained)}"
        which = ", of the forward pass," if train else ""
        notes.append(f"Cross-check: the difference to fvcore{which} is fully explained, operator by operator{whose}.")
    for row in checked:
        if row["check"] == "unexplained":
            wrong = "; ".join(
                f"{part['operator']} {part['counted']} for {part['predicted']}"
                for part in row["check_operators"]
                if not part["explained"]
            )
            notes.append(f"Cross-check: {row['model']} is UNEXPLAINED: fvcore counts {wrong}.")
        elif row["check"] == "impossible":
            notes.append(f"Cross-check: fvcore cannot count {row['model']}: {row['check_failure']}.")
    notes += partial_counts(rows)
    for row in rows:
        if "count_remark" in row:
            notes.append(f"{row['model']}: counted on {row['counted_on']}: {row['count_remark']}.")
    return (*notes, *assumed(row["model"] for row in rows if row["resolution_assumed"]))


def _operator_notes(row: Row) -> list[str]:
    if row.get("fvcore_flops") is None:
        return []
    return [
        f"fvcore on {row['model']}: {units.integer(row['fvcore_flops'])} operations; by operator:",
        *(
            f"  {part['operator']}: {units.integer(part['counted'])} for {units.integer(part['macs'])} MACs "
            f"({part['reason']})"
            for part in row["check_operators"]
        ),
    ]


def _over_budget(rows: Sequence[Row], budgets: dict[str, int | None]) -> list[str]:
    """Return one line per network and budget that it exceeds."""
    quantities = {"macs": ("MACs", units.giga, 1e9, "G"), "params": ("parameters", units.mega, 1e6, "M")}
    lines = []
    for row in {row["model"]: row for row in rows}.values():
        for key, budget in budgets.items():
            if budget is not None and row[key] > budget:
                name, text, scale, prefix = quantities[key]
                excess = units.percent(row[key] / budget - 1) if budget else "any is too many"
                lines.append(
                    f"scsc-lab: {row['model']} has {text(row[key])} {prefix} {name}, over the budget of "
                    f"{budget / scale:g} {prefix} ({excess})"
                )
    return lines
