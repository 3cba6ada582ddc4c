"""``scsc-lab flops``: parameters, MACs, activations and bytes, cross-checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

import typer

from scsc_lab import units
from scsc_lab.cli.networks import Baseline, Networks, position
from scsc_lab.cli.parameters import Without, command, option
from scsc_lab.errors import InputError
from scsc_lab.metrics.size import Size, assumed, counted, ledger
from scsc_lab.provenance import run_info
from scsc_lab.records import Row, with_changes
from scsc_lab.report import parts, tables
from scsc_lab.report import render as formats
from scsc_lab.report.tables import Column, Table
from scsc_lab.settings import Execution, Output, texts

By = Literal["operator", "module", "stage"]
"""What a network's counts can be broken down by."""

_CONVENTION = (
    "MACs: multiply-accumulates of convolutions, matrix products and sums of products; papers print this number as "
    "FLOPs. Activations: elements those write. {what}."
)
_FORWARD = "One forward pass{batch}, evaluation mode"
_STEP = (
    "One training step{batch}: forward, and backward from the network's output to every parameter, none to the image; "
    "without loss and optimizer"
)
_STEP_COLUMNS = (
    Column("forward_macs", "forward (G)", units.giga),
    Column("backward_macs", "backward (G)", units.giga),
)


@command(example="scsc-lab flops resnet50 scsc_resnet50")
def flops(
    networks: Networks,
    execution: Annotated[Execution, Without("device", "dtype", "memory_format", "threads", "seed")],
    output: Output,
    baseline: Baseline = None,
    by: Annotated[By | None, option("Break each network down.", "--by")] = None,
    depth: Annotated[
        int | None,
        option("With --by module: levels of modules. Default: 2.", "--depth", low=1, high=100, metavar="N"),
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
    formats.choose(output.format, output.output)
    measured, notes = networks.build()
    index = position(baseline, measured)
    sizes = [counted(network, execution.batch, check=check, train=execution.train) for network in measured]
    table = _breakdown(sizes, by, depth or 2) if by else _totals(sizes, index)
    if networks.transplants():
        table = _with_changes(table, sizes)
    formats.emit(table.noted(notes), run_info(), output.format, output.output)
    over = _over_budget([size.row() for size in sizes], {"macs": max_macs, "params": max_params})
    for line in over:
        typer.echo(line, err=True)
    wrong = any(s.count.unknown or (s.check and s.check.verdict == "unexplained") for s in sizes)
    return 1 if over or wrong else 0


def _totals(sizes: Sequence[Size], baseline: int) -> Table:
    rows = with_changes([size.row() for size in sizes], ("params", "macs", "activations", "bytes"), baseline)
    measured = (tables.PARAMS, tables.MACS, tables.ACTIVATIONS)
    compared, step = len(rows) > 1, _STEP_COLUMNS if sizes[0].train else ()
    columns = [column for measure in measured for column in (tables.changed(measure) if compared else (measure,))]
    if not compared:
        columns.append(replace(tables.BYTES, optional=True))
    return Table((tables.MODEL, tables.INPUT, *step, *columns), tuple(rows), notes=_notes(sizes))


def _breakdown(sizes: Sequence[Size], by: str, depth: int) -> Table:
    rows = [row for size in sizes for row in _part_rows(size, by, depth)]
    columns = [*([tables.MODEL] if len(sizes) > 1 else []), *parts.columns(by)]
    title = ", ".join(f"{size.network} at {units.size(size.probe.resolution)}" for size in sizes)
    notes = [*_notes(sizes), *(note for size in sizes for note in _operator_notes(size) if by == "operator")]
    return Table(tuple(columns), tuple(rows), title, tuple(notes))


def _with_changes(table: Table, sizes: Sequence[Size]) -> Table:
    """Add what the transplant did to each operator: a table for people, ``changes`` in the transplanted rows."""
    columns = (
        Column("name", "operator", number=False),
        Column("was", "was", number=False),
        Column("reason", "now", number=False),
        Column("params_difference", "Δ params (M)", units.signed_mega),
        Column("macs_difference", "Δ MACs (G)", units.signed_giga),
    )
    rows, details = list(table.rows), []
    for size in sizes:
        if size.network.transplant is None or size.network.form == "deploy":
            continue
        changes = ledger(size.network)
        shown = [row if row.get("replaced", True) else {**row, "reason": f"stays: {row['reason']}"} for row in changes]
        details.append(Table(columns, tuple(shown), f"{size.network}: what takes the place of what"))
        for index, row in enumerate(rows):
            if row["model"] == str(size.network):
                rows[index] = {**row, "changes": changes}
    return replace(table, rows=tuple(rows), details=tuple(details))


def _part_rows(size: Size, by: str, depth: int) -> list[Row]:
    from scsc_lab.models import build
    from scsc_lab.models.stages import stages

    count = size.count
    if by == "operator":
        found = [*count.by_operator(), count.total]
    elif by == "stage":
        shape = (size.probe.channels, *size.probe.resolution)
        found = [*count.by_stage(stages(build.empty(size.network), shape)), count.total]
    else:
        found = [count.total if part.name == "" else part for part in count.by_module(depth)]
    return [
        {
            "model": str(size.network),
            "resolution": list(size.probe.resolution),
            "batch": size.probe.batch,
            "by": by,
            **vars(part),
            "macs_share": part.macs / count.macs if count.macs else None,
            "status": count.status,
        }
        for part in found
    ]


def _notes(sizes: Sequence[Size]) -> tuple[str, ...]:
    batch = sizes[0].probe.batch
    what = (_STEP if sizes[0].train else _FORWARD).format(batch=f" of {batch} images" if batch > 1 else "")
    notes = [_CONVENTION.format(what=what)]
    checks = [(str(size.network), size.check) for size in sizes if size.check]
    explained = [label for label, check in checks if check and check.verdict == "explained"]
    if explained:
        whose = "" if len(explained) == len(checks) else f" for {', '.join(explained)}"
        which = ", of the forward pass," if sizes[0].train else ""
        notes.append(
            f"Cross-check: the difference to fvcore{which} is explained by operator to the last operation{whose}."
        )
    for label, check in checks:
        if check and check.verdict == "unexplained":
            wrong = "; ".join(f"{o.operator} {o.counted} for {o.predicted}" for o in check.operators if not o.explained)
            notes.append(f"Cross-check: {label} is UNEXPLAINED: fvcore counts {wrong}.")
        elif check and check.verdict == "impossible":
            notes.append(f"Cross-check: fvcore cannot count {label}: {check.failure}.")
    for size in sizes:
        if size.count.unknown:
            unknown = ", ".join(f"{name} ({calls} calls)" for name, calls in size.count.unknown)
            notes.append(f"PARTIAL: {size.network} has operators without a rule, not counted: {unknown}.")
        if size.count.remark:
            notes.append(f"{size.network}: counted on {size.count.device}: {size.count.remark}.")
    notes += assumed(size.network for size in sizes if size.resolution_assumed)
    return tuple(notes)


def _operator_notes(size: Size) -> list[str]:
    if size.check is None or size.check.flops is None:
        return []
    return [
        f"fvcore on {size.network}: {units.integer(size.check.flops)} operations; by operator:",
        *(
            f"  {operator.operator}: {units.integer(operator.counted)} for {units.integer(operator.macs)} MACs "
            f"({operator.reason})"
            for operator in size.check.operators
        ),
    ]


def _over_budget(rows: Sequence[Row], budgets: dict[str, int | None]) -> list[str]:
    units_ = {"macs": ("MACs", units.giga, "G"), "params": ("parameters", units.mega, "M")}
    lines = []
    for row in rows:
        for key, budget in budgets.items():
            if budget is not None and row[key] > budget:
                name, text, prefix = units_[key]
                excess = units.percent(row[key] / budget - 1) if budget else "any is too many"
                lines.append(
                    f"scsc-lab: {row['model']} has {text(row[key])}{prefix} {name}, over the budget of "
                    f"{text(budget)}{prefix} ({excess})"
                )
    return lines
