"""What a report finds, by rules: the paper's claims and each question, with answer, figure and evidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from scsc_lab import units
from scsc_lab.analysis import SHARES, key
from scsc_lab.records import Row, grouped
from scsc_lab.report import fields, latency, tables
from scsc_lab.report.names import compared
from scsc_lab.report.sections import DRAWN
from scsc_lab.report.tables import Change, Column, Table

FIELD = frozenset(map(key, SHARES))
"""Keys of columns that are of receptive fields."""

_JUDGED = {
    "better": "yes",
    "worse": "no",
    "same": "no difference",
    "inconclusive": "inconclusive",
    "withheld": "withheld: the machine was too busy",
    "": "too few pairs to tell",
}
_NEUTRAL = {**_JUDGED, "better": "larger", "worse": "smaller"}
"""Answers on a number that has no better end: which way it goes."""
SAME = 0.001
"""A change of an exact number below which two networks are the same in it."""

CLAIMS = "What the paper claims, and what is counted"
NETWORKS = "Networks, side by side"
"""Headings under which the evidence stands."""

NOTES = (
    "Yes or no (larger or smaller, of a receptive field, which is neither better nor worse) where the difference is "
    "clear of its interval, or of rounding where the number is exact; the figure "
    "gives the change, its interval where there is one, and both numbers. Inconclusive: its interval holds no "
    "difference and also larger ones than would count as none.",
)
SUMMED = (
    "Each of several against one baseline: a question has one row, with how many have each answer and the best and the "
    "worst figure; every answer is folded away below."
)
COLUMNS = (
    Column("question", "question", number=False),
    Column("answer", "answer", number=False),
    Column("figure", "figure", number=False),
    Column("evidence", "evidence", number=False, optional=True),
)


def findings_table(claims: Sequence[Row], networks: Sequence[Row], columns: Sequence[Column], when: str = "") -> Table:
    """Return a table of claims and questions, each with answer, figure and evidence.

    Args:
        claims: rows of the paper's claims; those that are not measured are left out.
        networks: networks with the changes of the columns, each with the label of its ``baseline``.
        columns: what is asked about: those that have a change, and a better direction or a question.
        when: what questions about receptive fields end in, where these are measured before and after training.
    """
    rows: list[Row] = [
        {"question": str(row["claim"]), "answer": verdict(row), "figure": both_changes(row), "evidence": CLAIMS}
        for row in claims
        if row.get("measured") is not None
    ]
    pairs = compared(networks)
    for row, baseline in zip(pairs, tables.baselines(pairs, networks), strict=True):
        for column in columns:
            if (column.better or column.question) and column.change is not None:
                of_one_draw = " at this initialisation" if fields.is_of_one_draw(row) else ""
                moment = when or of_one_draw if str(column.key) in FIELD else ""
                rows += _answers(row, baseline or {}, column, column.change, moment)
    return Table(COLUMNS, tuple(rows))


def verdict(row: Row) -> str:
    """Return a claim's verdict with its direction ("saves more than claimed"), or that it was not tested."""
    if row.get("measured") is None:
        return "not tested"
    if row.get("verdict") != "differs":
        return str(row.get("verdict") or "")
    claimed = row.get("published") or 0.0
    is_more = row["measured"] < claimed
    if claimed < 0:
        return "saves more than claimed" if is_more else "saves less than claimed"
    return "costs less than claimed" if is_more else "costs more than claimed"


def both_changes(row: Row) -> str:
    """Return the change that a claim is about as it was counted, and as the paper claims it."""
    claimed = "similar" if row.get("published") is None else units.percent(row["published"])
    return f"{units.exact_percent(row['measured'])}, claimed {claimed}"


def by_network(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Return findings with all questions about one network together, in the order in which networks first appear."""
    first = {row["question"].partition(": ")[0]: at for at, row in reversed(list(enumerate(rows)))}
    return tuple(sorted(rows, key=lambda row: first[row["question"].partition(": ")[0]]))


def summed(rows: Sequence[Row], groups: Mapping[str, Sequence[str]]) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    """Return findings with one row per question about each large group, and all those that are so summed up.

    Args:
        rows: findings, as :func:`findings_table` and :func:`by_network` give them.
        groups: the networks of each large group, by their baseline.
    """
    members = {(baseline, model) for baseline, models in groups.items() for model in models}
    together = grouped(
        (row for row in rows if (str(row.get("against")), row.get("model")) in members),
        lambda row: (row["against"], row["asked"]),
    )
    large = [group for group in together.values() if 1 < len(group) == len({row["model"] for row in group})]
    first = {id(group[0]): group for group in large}
    inside = {id(row) for group in large for row in group}
    later = inside - first.keys()
    short = [_summed(first[id(row)]) if id(row) in first else row for row in rows if id(row) not in later]
    return tuple(short), tuple(row for row in rows if id(row) in inside)


def _summed(rows: Sequence[Row]) -> Row:
    against, about = str(rows[0]["against"]), rows[0]["asked"]
    answers = Counter(row["answer"] for row in rows)
    order = dict.fromkeys([*_JUDGED.values(), *_NEUTRAL.values(), *answers])
    counted = ", ".join(f"{answer} {answers[answer]}" for answer in order if answers[answer])
    best, *_, worst = sorted(rows, key=lambda row: row["gain"], reverse=True)
    ends = (f"{row['model'].removeprefix(f'{against} + ')} {row['figure'].partition(';')[0]}" for row in (best, worst))
    question = f"each of {len(rows)} against {against}: {about}"
    return {"question": question, "answer": counted, "figure": " … ".join(ends), "evidence": rows[0]["evidence"]}


def _answers(row: Row, against: Row, column: Column, change: Change, when: str) -> list[Row]:
    text = change.column.cell(row)
    if not text:
        return []
    value, judged = _change(row, against, column, change)
    if value is None:
        return []
    gained = (value < 0) == (column.better == "lower")
    answers = _JUDGED if column.better else _NEUTRAL
    answer = answers[judged or ("better" if gained else "worse")]
    if change.judged:
        judgement = str(row.get(change.judged) or "")
        answer = answers.get(judgement, judgement)
    question = column.question or f"{'Less' if column.better == 'lower' else 'More'} {column.quantity}?"
    before = column.cell(_reference(row, against, column, change))
    numbers = f"{before} → {column.cell(row)}" if before and column.cell(row) else ""
    text = text.partition(" of ")[0]  # the time that a ratio is of stands in the numbers
    kind = " points" if change.how == "difference" else " ×" if change.how == "measured" else ""
    figure = f"{_with_unit(text, kind)}{f'; {numbers} {column.unit}'.rstrip() if numbers else ''}"
    about = f"{question[0].lower()}{question[1:].removesuffix('?')}{when}?"
    where = latency.IN_RUNTIMES if column.apart else NETWORKS
    line = {"question": f"{row['model']}: {about}", "answer": answer, "figure": figure, "evidence": where}
    gain = -value if column.better == "lower" else value
    return [{**line, "model": str(row["model"]), "against": str(row["baseline"]), "asked": about, "gain": gain}]


def _reference(row: Row, against: Row, column: Column, change: Change) -> Row:
    """Return the baseline with its number in the pairs that a row's ratio is of.

    Where rows do not have it, and the numbers of the two rows are of other pairs, it is left out: they would contradict
    the ratio.
    """
    if change.how != "measured":
        return against
    key, ratio = str(column.key), row.get(change.key)
    seconds = row.get(change.column.key[3])
    if seconds is None and against.get(key) and row.get(key) and ratio:
        seconds = against[key] if abs(row[key] / against[key] / ratio - 1) <= latency.NOT_OF_THE_PAIRS else None
    return {**against, key: seconds}


def _with_unit(text: str, unit: str) -> str:
    head, bracket, tail = text.partition(" (")
    return f"{head}{unit}{bracket}{tail}"


def _change(row: Row, against: Row, column: Column, change: Change) -> tuple[float | None, str]:
    """Return how much a number changes, below zero for less, and why it is no clear change: empty where it is one."""
    value = row.get(change.key)
    if value is None:
        return None, ""
    if change.paired is not None:
        low, high = (row.get(key) for key in change.column.key[1:])
        if low is not None and high is not None:
            alike = max(abs(low), abs(high)) <= SAME
            return value, "same" if alike else "" if low > 0 or high < 0 else "inconclusive"
    if change.how == "measured":
        keys = change.column.key if isinstance(change.column.key, tuple) else (change.key,)
        if row.get(change.verdict) == "withheld":
            return value - 1, "withheld"
        ends = [row.get(key) for key in keys[1:3]]
        clear = all(end is not None and (end < 1) == (value < 1) and end != 1 for end in ends)
        is_same = row.get(change.verdict) == "same"
        return value - 1, "same" if is_same else "" if clear else "inconclusive"
    low, high = (row.get(f"{column.key}{end}") for end in ("_low", "_high"))
    low_against, high_against = (against.get(f"{column.key}{end}") for end in ("_low", "_high"))
    if low is None or high is None or low_against is None or high_against is None:
        return value, "" if abs(value) >= SAME else "same"
    alike = value == 0 and low == low_against and high == high_against
    return value, "same" if alike else "" if high < low_against or high_against < low else "inconclusive"


_QUANTITIES = {"params": "parameters", "macs": "MACs"}


def _verdict(values: tuple[Any, ...]) -> str:
    return verdict(dict(zip(("verdict", "published", "measured"), values, strict=True)))


def claims_table(rows: Sequence[Row]) -> Table:
    """Return the claims of the abstract beside our own figures, with what is inferred and the nearest settings."""
    columns = (
        Column("claim", "claim", number=False),
        Column("published", "paper", units.percent),
        Column("measured", "ours", units.exact_percent),
        Column("difference", "points", units.points),
        Column(("verdict", "published", "measured"), "verdict", _verdict, number=False),
    )
    notes = [
        "Changes of the SCSC network against its baseline, counted as by `scsc-lab flops`; the paper's FLOPs are MACs. "
        "Reproduced: within one point. Points below zero: more is saved than claimed.",
    ]
    if any(row.get("measured") is None for row in rows):
        notes.append(
            "Accuracy: not tested, which needs ImageNet or face data. `--probe ROWS.jsonl` shows trained pico networks."
        )
    for row in rows:
        if row.get("nearest") is not None:
            reached = (
                f"{units.exact_percent(row.get('nearest_change'))} {_QUANTITIES.get(str(row.get('quantity')), '')}"
            )
            nearest = f"{row.get('nearest')} comes nearest, with {reached}"
            if row.get("nearest") == row["network"]:
                nearest = "none comes nearer than the released network"
            notes.append(
                f"{row['claim']}: of all choices of each stage's kernels, {nearest}; what the paper used is open."
            )
    inferred = {row["network"]: row.get("inferred") for row in rows if row.get("inferred")}
    notes += [f"Inferred, {network}: {text}." for network, text in inferred.items()]
    if any(row.get("published_text") for row in rows):
        notes.append("Similar: the abstract prints no figure; compared with 0 %; never fails the check.")
    title = "SCSC against its baselines: claimed and counted"
    return Table(columns, tuple(rows), title, tuple(notes), _probe_tables(rows))


def _probe_tables(rows: Sequence[Row]) -> tuple[Table, ...]:
    """Return the table of small networks that were trained beside the claims; none where none were."""
    by_budget = ({**row, **probe} for row in rows for probe in row.get("probe_budgets", ({},)))
    probed = tuple(row for row in by_budget if row.get("probe_difference") is not None)
    if not probed:
        return ()
    columns = (
        Column("claim", "claim", number=False),
        Column("probe_network", "network", number=False, optional=True),
        Column("probe_baseline", "against", number=False, optional=True),
        Column("probe_epochs", "epochs", optional=True),
        Column("probe_pairs", "seeds"),
        Column(("probe_difference", "probe_low", "probe_high"), "Δ points, 95%", units.points_interval),
        Column("probe_verdict", "verdict", number=False),
    )
    data = dict.fromkeys(str(row["probe_data"]) for row in probed)
    images = "drawn images" if all(name in DRAWN for name in data) else "images"
    note = (
        f"Networks a quarter as wide, trained on {images} ({' and '.join(data)}); each seed a pair, as by `scsc-lab "
        "train`. It neither confirms nor refutes the claims."
    )
    return (Table(columns, probed, "A probe at small scale, beside the claims about accuracy", (note,)),)
