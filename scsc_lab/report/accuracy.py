"""Accuracy as blocks, from rows of trained networks: the tables of the terminal and the section of a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from scsc_lab import units
from scsc_lab.analysis.convergence import RULE, sentence, share_converged
from scsc_lab.records import Row
from scsc_lab.report import tables
from scsc_lab.report.tables import Column, Table
from scsc_lab.settings.texts import number_of

PAIRS_RULE = (
    "Mean ± deviation over seeds of the last epoch, never the best. Differences to the baseline are over pairs of one "
    "seed, which share split, order and augmentation, with their 95 % t interval; p: exact sign-flip test, and Holm's "
    "for all rows of the table; ρ: correlation of the pairs."
)
"""The explanation of every accuracy and its difference."""


def pair_of(run: Row) -> int:
    """Return what a run is paired by: its seed, unless it is a pair with runs of other seeds."""
    return int(run["pair"] if "pair" in run else run["seed"])


def _with_deviation(values: tuple[float | None, ...]) -> str:
    """Return a mean and a deviation as ``63.2 ± 1.4``."""
    mean, deviation = values
    return units.decimal(mean) if deviation is None else f"{units.decimal(mean)} ± {units.decimal(deviation)}"


def _three_digits(value: float | None) -> str:
    return units.MISSING if value is None else units.significant(value, 3)


def _mean(name: str, title: str, *, optional: bool = False) -> Column:
    keys = (f"{name}_mean", f"{name}_deviation")
    return Column(keys, title, _with_deviation, unit="%", optional=optional)


def _difference(name: str, title: str, *, optional: bool = False) -> Column:
    stem = "" if name == "accuracy" else f"{name}_"
    ends = ("difference_low", "difference_high") if not stem else (f"{stem}low", f"{stem}high")
    return Column((f"{name}_difference", *ends), title, units.points_interval, optional=optional)


LEVEL = 0.95
"""Level of intervals: of one look, or of all looks at growing numbers of seeds together."""


def level(rows: Sequence[Row]) -> str:
    """Return the level of the intervals of rows: that of all looks together where seeds were added in steps."""
    is_stepwise = any((row.get("accuracy_confidence") or LEVEL) != LEVEL for row in rows)
    return f"{'sequential ' if is_stepwise else ''}{LEVEL:.0%}"


def _differences(rows: Sequence[Row]) -> tuple[Column, ...]:
    return (
        _difference("accuracy", f"Δ points, {level(rows)}"),
        Column("verdict", "verdict", number=False),
        Column("p_value", "p", units.probability, optional=True),
        Column("p_holm", "p, Holm", units.probability, optional=True),
        Column("pair_correlation", "ρ", units.correlation, optional=True),
    )


def networks_table(networks: Sequence[Row], notes: Sequence[str] = ()) -> Table:
    """Return one row per network: accuracies over its seeds, and the paired differences to the baseline.

    Args:
        networks: networks with their ``runs`` and ``verdict``.
        notes: lines below.
    """
    parts = dict.fromkeys(
        key.removesuffix("_accuracy_mean") for row in networks for key in row if key.endswith("_accuracy_mean")
    )
    rows = [{**row, "data": row["runs"][0]["data"] if row["runs"] else ""} for row in networks]
    columns = (
        tables.MODEL,
        Column("data", "data", number=False, optional=True),
        Column("seeds", "seeds"),
        _mean("accuracy", "accuracy"),
        *(_mean(f"{part}_accuracy", part, optional=True) for part in parts),
        _mean("accuracy_in_training", "in training", optional=True),
        Column("training_loss_mean", "training loss", _three_digits, optional=True),
        *_differences(rows),
        *(_difference(part, f"Δ {part}, points", optional=True) for part in parts),
    )
    return Table(tables.filled(columns, rows), tuple(rows), notes=tuple(notes))


def table(
    networks: Sequence[Row],
    runs: Sequence[Row],
    notes: Sequence[str] = (),
    budgets: Sequence[Sequence[Row]] = (),
    tuned: Sequence[Row] = (),
    difficulty: Sequence[Row] = (),
) -> Table:
    """Return the table of networks, and below it those of the budgets, the tuning and the difficulty.

    JSON and CSV carry rows of networks (one per budget), of runs and of the tuning, told apart by ``kind``.

    Args:
        networks: rows of :func:`scsc_lab.experiments.train.measure`, at the largest budget.
        runs: rows of runs, each with its ``model``.
        notes: what must be known to read them.
        budgets: rows of the networks at each budget, if there are several.
        tuned: rows of :func:`scsc_lab.experiments.tuning.rows`.
        difficulty: rows of :func:`scsc_lab.experiments.train.summaries_by_difficulty`.
    """
    by_budget = [row for rows in budgets for row in rows] or list(networks)
    warning = " ".join(caveats(networks))
    notes = [*([f"{RULE[0].upper()}{RULE[1:]}."] if warning else []), *sentences(budgets), *notes]
    records = _records(network=by_budget, run=runs, tuning=tuned, difficulty=difficulty)
    details = (*schedule_tables(budgets, tuned), *([difficulty_table(difficulty)] if difficulty else []))
    summary = networks_table(networks)
    return Table(summary.columns, summary.rows, warning, (), details, records).noted(notes)


def _records(**rows_by_kind: Sequence[Row]) -> tuple[Row, ...]:
    """Return rows with their ``kind``; networks without their runs, which are rows of their own."""
    return tuple(
        {"kind": kind, **{key: value for key, value in row.items() if key != "runs"}}
        for kind, rows in rows_by_kind.items()
        for row in rows
    )


def caveats(networks: Sequence[Row]) -> list[str]:
    """Return one line per network whose runs are at chance, or compared baseline whose runs had not converged."""
    lines = []
    for row in networks:
        converged, at_chance, complete = share_converged(row["runs"])
        if at_chance:
            lines.append(f"CAVEAT: {row['model']} is at chance in {at_chance} of {complete} runs.")
        if row["model"] == row.get("baseline") and len(networks) > 1 and converged + at_chance < complete:
            lines.append(
                f"CAVEAT: {row['model']}, the baseline, had not converged in {complete - converged - at_chance} of "
                f"{complete} runs of {row['runs'][0]['epochs']} epochs: differences may be of the speed of learning."
            )
    return lines


def sentences(budgets: Sequence[Sequence[Row]]) -> list[str]:
    """Return one line per compared network on its verdicts at all budgets, if there are several."""
    if len(budgets) < 2:
        return []
    lines = []
    for model in (row["model"] for row in budgets[-1] if row.get("accuracy_difference") is not None):
        rows = [next((row for row in rows if row["model"] == model), {}) for rows in budgets]
        verdicts = [row.get("verdict") for row in rows]
        each = ", ".join(
            f"{row.get('epochs')}: {verdict or 'none'}" for row, verdict in zip(rows, verdicts, strict=True)
        )
        lines.append(f"{model} against {budgets[-1][0]['baseline']}: {sentence(verdicts)} (by epochs: {each}).")
    return lines


def schedule_tables(budgets: Sequence[Sequence[Row]], tuned: Sequence[Row]) -> list[Table]:
    """Return the tables of several budgets, if there are several, and of the tuning, if there was one."""
    by_budget = [row for rows in budgets for row in rows] if len(budgets) > 1 else []
    return [make(rows) for make, rows in ((budgets_table, by_budget), (tuning_table, tuned)) if rows]


def with_schedule(table: Table, budgets: Sequence[Sequence[Row]], tuned: Sequence[Row]) -> Table:
    """Return a table of networks or variants with the tables and sentences of their budgets and tuning, if any."""
    details = schedule_tables(budgets, tuned)
    if not details:
        return table
    shorter = [row for rows in budgets[:-1] for row in rows]
    noted = table.noted([*sentences(budgets), *tuning_notes(tuned)])
    compact = noted.compact and replace(noted.compact, details=(*noted.compact.details, *details))
    return replace(
        noted,
        details=(*noted.details, *details),
        records=(*table.raw, *_records(budget=shorter, tuning=tuned)),
        compact=compact,
    )


def tuning_notes(rows: Sequence[Row]) -> list[str]:
    """Return which values were chosen, at which cost, and which lie at the edge of the grid; rows of any grids."""
    lines = []
    for grid in dict.fromkeys((row["key"], row["grid"]) for row in rows):
        key, text = grid
        table = [row for row in rows if (row["key"], row["grid"]) == grid]
        text = text.replace(", 1 seeds", ", 1 seed")
        best = [row for row in table if row["chosen"]]
        macs, seconds, runs = (sum(float(row[name]) for row in table) for name in ("train_macs", "seconds", "seeds"))
        values = ", ".join(f"{row['model']} {row['value']}" for row in best)
        lines.append(
            f"Tuned per network on held-out training images ({text}; {runs / max(len(best), 1):.0f} runs each, "
            f"{units.giga(macs)} GMACs and {seconds / 3600:.1f} hours in total): {key} {values}."
        )
        numbers = [number for row in table if (number := number_of(row["value"])) is not None]
        ends = (min(numbers, default=None), max(numbers, default=None))
        if edges := [row["model"] for row in best if number_of(row["value"]) in ends and numbers]:
            lines.append(f"The best {key} of {', '.join(edges)} is at the edge of the grid: a wider grid may help.")
    return lines


def difficulty_findings(rows: Sequence[Row]) -> list[str]:
    """Return one line per network, condition and task: the difference, with its interval, at both ends of the images.

    Args:
        rows: rows of :func:`scsc_lab.experiments.train.summaries_by_difficulty`.
    """
    lines = []
    for model in dict.fromkeys(row["model"] for row in rows if any(key.endswith("_difference") for key in row)):
        for condition, is_reversed in (("small letters", True), ("noise", False)):
            cells = [row for row in rows if (row["model"], row["condition"]) == (model, condition)]
            cells.sort(key=lambda row: float(row["value"]), reverse=is_reversed)
            easiest, hardest = cells[0], cells[-1]
            for key in (key for key in easiest if key.endswith("_difference")):
                name = key.removesuffix("_difference")
                ends = [
                    f"{units.points_interval((row[key], row.get(f'{name}_low'), row.get(f'{name}_high')))} points at "
                    f"{row['value']:g}"
                    for row in (easiest, hardest)
                ]
                lines.append(f"{model}, {condition}: {name} accuracy differs by {', '.join(ends)}.")
    return lines


def budgets_table(rows: Sequence[Row]) -> Table:
    """Return the table of networks at several budgets, with what these cost."""
    baselines = list(dict.fromkeys(row["baseline"] for row in rows))
    ordered = sorted(rows, key=lambda row: (row["epochs"], baselines.index(row["baseline"])))
    columns = (
        Column("epochs", "epochs"),
        tables.MODEL,
        _mean("accuracy", "accuracy"),
        Column("train_macs_mean", "MACs spent", units.giga, unit="G"),
        Column("seconds_mean", "seconds", units.decimal),
        Column(("runs_converged", "runs_at_chance", "seeds"), "converged", _converged, number=False),
        *_differences(rows),
    )
    return Table(tables.filled(columns, ordered), tuple(ordered), "By training budget")


def _converged(counts: tuple[int, int | None, int]) -> str:
    converged, at_chance, runs = counts
    return f"{converged} of {runs}" + (f", {at_chance} at chance" if at_chance else "")


def tuning_table(rows: Sequence[Row]) -> Table:
    """Return the table of a tuning: the held-out accuracy of every value of every network, its cost, and the choice."""
    networks: dict[tuple[str, str, str], Row] = {}
    for row in rows:
        line = networks.setdefault((row["model"], row["key"], row["grid"]), {"model": row["model"], "key": row["key"]})
        line[f"at {row['value']}"] = row["accuracy_mean"]
        line["train_macs"] = line.get("train_macs", 0) + row["train_macs"]
        if row["chosen"]:
            line["chosen"] = row["value"]
    values = dict.fromkeys(str(row["value"]) for row in rows)
    columns = (
        tables.MODEL,
        Column("key", "tuned", number=False),
        Column("chosen", "chosen"),
        *(Column(f"at {value}", f"at {value}", units.decimal, unit="%") for value in values),
        Column("train_macs", "MACs spent", units.giga, unit="G"),
    )
    return Table(columns, tuple(networks.values()), "Tuning: accuracy on held-out training images")


def difficulty_table(rows: Sequence[Row]) -> Table:
    """Return the table of trained networks on harder images."""
    names = dict.fromkeys(key.removesuffix("_mean") for row in rows for key in row if key.endswith("_mean"))
    columns = (
        Column("condition", "condition", number=False),
        Column("value", "value", lambda value: f"{value:g}"),
        tables.MODEL,
        *(Column(f"{name}_mean", name, units.decimal, unit="%") for name in names),
        *(
            Column((f"{name}_difference", f"{name}_low", f"{name}_high"), f"Δ {name}, points", units.points_interval)
            for name in names
        ),
    )
    note = "Small letters: height in pixels, 7 in training. Noise: deviation per pixel, 0.05 to 0.15 in training."
    return Table(tables.filled(columns, rows), tuple(rows), "By difficulty, from the same weights", (note,))
