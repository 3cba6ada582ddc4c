"""The tables of training runs: each network's accuracy over its seeds, and its difference to the baseline."""

from __future__ import annotations

from collections.abc import Sequence

from scsc_lab import units
from scsc_lab.analysis.convergence import RULE, sentence, share_converged
from scsc_lab.records import Row
from scsc_lab.report import accuracies, tables
from scsc_lab.report.tables import Column, Table


def table(
    networks: Sequence[Row],
    runs: Sequence[Row],
    notes: Sequence[str] = (),
    budgets: Sequence[Sequence[Row]] = (),
    tuned: Sequence[Row] = (),
    difficulty: Sequence[Row] = (),
) -> Table:
    """Return one line per network, and below it the differences to the baseline, the budgets and the tuning.

    JSON and CSV carry rows of networks (one per budget), of runs and of the tuning, told apart by ``kind``.

    Args:
        networks: rows of :func:`scsc_lab.experiments.train.measure`, at the largest budget.
        runs: rows of runs, each with its ``model``.
        notes: what must be known to read them.
        budgets: rows of the networks at each budget, if there are several.
        tuned: rows of :func:`scsc_lab.experiments.tuning.rows`.
        difficulty: rows of :func:`scsc_lab.experiments.difficulty.summaries`.
    """
    parts = dict.fromkeys(
        key.removesuffix("_accuracy_mean") for row in networks for key in row if key.endswith("_accuracy_mean")
    )
    columns = (
        tables.MODEL,
        Column("seeds", "seeds"),
        Column(("accuracy_mean", "accuracy_deviation"), "accuracy", accuracies.with_deviation, unit="%"),
        *(
            Column((f"{p}_accuracy_mean", f"{p}_accuracy_deviation"), f"{p}", accuracies.with_deviation, unit="%")
            for p in parts
        ),
    )
    differences = (
        tables.MODEL,
        *accuracies.DIFFERENCES,
        *(Column((f"{p}_difference", f"{p}_low", f"{p}_high"), f"Δ {p}, points", units.points_interval) for p in parts),
        Column("verdict", "verdict", number=False),
    )
    by_budget = [row for rows in budgets for row in rows] or networks
    warning = caveat(networks)
    notes = [*([warning, f"{RULE[0].upper()}{RULE[1:]}."] if warning else []), *sentences(budgets), *notes]
    records = [{"kind": "network", **{k: v for k, v in row.items() if k != "runs"}} for row in by_budget]
    records += [{"kind": "run", **row} for row in runs]
    records += [{"kind": "tuning", **row} for row in tuned]
    records += [{"kind": "difficulty", **row} for row in difficulty]
    shown, kept = tables.filled(columns, networks), tuple(records)
    compared = tuple(row for row in networks if row.get("accuracy_difference") is not None)
    parts_of = ((_budgets, by_budget if len(budgets) > 1 else ()), (_tuning, tuned), (_difficulty, difficulty))
    details = [make(rows) for make, rows in parts_of if rows]
    if not compared:
        return Table(shown, tuple(networks), warning, tuple(notes), tuple(details), kept)
    heading = f"Accuracy against {compared[0]['baseline']}" if "baseline" in compared[0] else "Against the first"
    against = Table(tables.filled(differences, compared), compared, heading, tuple(notes))
    return Table(shown, tuple(networks), warning, details=(*details, against), records=kept)


def caveat(networks: Sequence[Row]) -> str:
    """Return one line if a baseline's runs had not converged; empty if they had, or nothing is compared."""
    lines = []
    for row in networks:
        if row["model"] != row.get("baseline") or len(networks) < 2:
            continue
        converged, complete = share_converged(row["runs"])
        if converged < complete:
            lines.append(
                f"CAVEAT: {row['model']}, the baseline, had not converged in {complete - converged} of {complete} runs "
                f"of {row['epochs']} epochs: differences may be of the speed of learning."
            )
    return " ".join(lines)


def sentences(budgets: Sequence[Sequence[Row]]) -> list[str]:
    """Return one line per compared network on its verdicts at all budgets, if there are several."""
    if len(budgets) < 2:
        return []
    lines = []
    for model in (row["model"] for row in budgets[-1] if row.get("accuracy_difference") is not None):
        rows = [next((row for row in rows if row["model"] == model), {}) for rows in budgets]
        verdicts = [row.get("verdict") for row in rows]
        each = ", ".join(f"{row.get('epochs')}: {word or 'none'}" for row, word in zip(rows, verdicts, strict=True))
        lines.append(f"{model} against {budgets[-1][0]['baseline']}: {sentence(verdicts)} (by epochs: {each}).")
    return lines


def _budgets(rows: Sequence[Row]) -> Table:
    ordered = sorted(rows, key=lambda row: (row["epochs"], row["model"] != row["baseline"]))
    columns = (
        Column("epochs", "epochs"),
        tables.MODEL,
        Column(("accuracy_mean", "accuracy_deviation"), "accuracy", accuracies.with_deviation, unit="%"),
        Column("train_macs_mean", "MACs spent", units.giga, unit="G"),
        Column("seconds_mean", "seconds", units.decimal),
        Column(("runs_converged", "seeds"), "converged", lambda counts: f"{counts[0]} of {counts[1]}", number=False),
        *accuracies.DIFFERENCES,
        Column("verdict", "verdict", number=False),
    )
    return Table(tables.filled(columns, ordered), tuple(ordered), "By training budget")


def _tuning(rows: Sequence[Row]) -> Table:
    columns = (
        tables.MODEL,
        Column("key", "tuned", number=False),
        Column("value", "value", number=False),
        Column("accuracy_mean", "held-out accuracy", units.decimal, unit="%"),
        Column("train_macs", "MACs spent", units.giga, unit="G"),
        Column("seconds", "seconds", units.decimal),
        Column("chosen", "chosen", lambda chosen: "yes" if chosen else "", number=False),
    )
    return Table(tables.filled(columns, rows), tuple(rows), "Tuning, on held-out training images")


def _difficulty(rows: Sequence[Row]) -> Table:
    names = dict.fromkeys(key.removesuffix("_mean") for row in rows for key in row if key.endswith("_mean"))
    columns = (
        Column("condition", "condition", number=False),
        Column("value", "value", lambda value: f"{value:g}"),
        tables.MODEL,
        *(Column(f"{name}_mean", f"{name}", units.decimal, unit="%") for name in names),
        *(
            Column((f"{name}_difference", f"{name}_low", f"{name}_high"), f"Δ {name}, points", units.points_interval)
            for name in names
        ),
    )
    note = "Small letters: height in pixels, 7 in training. Noise: deviation per pixel, 0.05 to 0.15 in training."
    return Table(tables.filled(columns, rows), tuple(rows), "By difficulty, from the same weights", (note,))
