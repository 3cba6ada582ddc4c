"""The abstract of a report, by rules from rows: the findings on one screen, and nothing without its interval."""

from __future__ import annotations

from collections.abc import Sequence

from scsc_lab import units
from scsc_lab.analysis.convergence import under_training
from scsc_lab.records import Row
from scsc_lab.report import fields, findings, tables
from scsc_lab.report.comparison import without_reference
from scsc_lab.report.document import Block, Bullets, Grid, Paragraph
from scsc_lab.report.latency import USUAL, key_in
from scsc_lab.report.names import added_module, compared, effect, original
from scsc_lab.report.points import bullets, count, is_clear, pairs, points, subject, time_verdict
from scsc_lab.report.tables import Column, Table
from scsc_lab.units import MOST_NAMES, listed

_MOST_COLUMNS, _MOST_ROWS = 6, 8
_ORDER = ("params", "macs", "latency", "accuracy", "erf", "activations", "bytes")
_VERDICTS = ("faster", "slower", "the same", "inconclusive", "withheld", "without an interval")
_DEVICES = {"cpu": "a CPU", "cuda": "a GPU", "mps": "an Apple GPU"}


def title(networks: Sequence[Row], name: str) -> str:
    """Return the title of a report: its subject, from its networks, or its name where nothing is compared."""
    variants = compared(networks)
    backbones = listed([str(row["baseline"]) for row in pairs(networks)])
    modules = dict.fromkeys(filter(None, map(added_module, variants)))
    if not variants:
        return f"Networks, measured: {name}"
    if not modules and all(original(row) == original({"model": row["baseline"]}) for row in variants):
        return f"Settings of {backbones}"
    if "SCSC" in modules:
        mixers = len(modules) - 1
        return f"SCSC{f' and {count(mixers)} other mixers' if mixers else ''} in {backbones}"
    return f"{listed([str(row['model']) for row in variants])} against {backbones}"


def blocks(rows: Sequence[Row], networks: Sequence[Row], columns: Sequence[Column]) -> tuple[Block, ...]:
    """Return the abstract: sentences, the table of pairs, at most five bullets, and one line of scope.

    Args:
        rows: all rows of a report, the run's first.
        networks: networks, each with the label of its ``baseline`` and the changes against it.
        columns: the columns that are shown of them.
    """
    chosen = pairs(networks)
    text = sentences(rows, chosen, networks)
    parts: list[Block] = [Paragraph(text)] if text else []
    if chosen:
        parts.append(Grid(pairs_table(chosen, columns), "pairs"))
    if lines := bullets(rows, networks):
        parts.append(Bullets(tuple(lines)))
    return (*parts, Paragraph(scope(rows, networks)))


def sentences(rows: Sequence[Row], chosen: Sequence[Row], networks: Sequence[Row]) -> str:
    """Return the sentences on time, on runtimes and on accuracy, each only where rows support it."""
    lines = [_on_time(chosen), _on_runtimes(chosen), _on_fields(chosen), _on_accuracy(rows, chosen, networks)]
    return " ".join(filter(None, lines))


def pairs_table(chosen: Sequence[Row], columns: Sequence[Column]) -> Table:
    """Return one row per pair, of changes only, in at most six columns; of many pairs those of the largest effects."""
    by_word = {column.word: column for column in columns if column.change is not None}
    ordered = [by_word[name] for name in (*_ORDER, *by_word) if name in by_word]
    changes = [
        without_reference(column.change.column) for column in dict.fromkeys(ordered) if column.change is not None
    ]
    is_repeated = len({row["baseline"] for row in chosen}) < len(chosen)
    keys = [
        *([tables.MODEL] if is_repeated or not added_module(chosen[0]) else []),
        Column("baseline", "backbone", number=False),
    ]
    filled = tables.filled(changes, chosen)[: _MOST_COLUMNS - len(keys)]
    rows = list(chosen)
    left_out = len(rows) - _MOST_ROWS
    if left_out > 0:
        rows = sorted(rows, key=effect, reverse=True)[:_MOST_ROWS]
    notes = (f"The {_MOST_ROWS} largest effects; {left_out} more pairs are below.",) if left_out > 0 else ()
    return Table((*keys, *filled), tuple(rows), notes=notes)


def scope(rows: Sequence[Row], networks: Sequence[Row]) -> str:
    """Return one line: processor, threads, batch, precision, noise floor, and the caveats that rows give."""
    run, timed = rows[0], [row for row in networks if row.get("median_seconds") is not None]
    facts = [str(run.get("device_name") or run.get("machine", {}).get("processor") or "")]
    if timed:
        threads = [row["threads"] for row in timed if row.get("threads")]
        facts += [f"{listed(list(map(str, threads)))} thread{'s' * (max(threads) > 1)}"] if threads else []
        facts += [f"batch {listed([str(row.get('batch', 1)) for row in timed])}"]
        facts += [listed([str(row["dtype"]) for row in timed if row.get("dtype")])]
    sizes = dict.fromkeys(units.size(row["resolution"]) for row in networks)
    facts += [f"input {listed(list(sizes))}"] if sizes else []
    noise = [row for row in rows if row["table"] == "noise" and row.get("ratio_low") is not None]
    facts += [f"noise floor {units.interval((row['ratio_low'], row['ratio_high']))}" for row in noise[:1]]
    lines = ["Scope: " + ", ".join(filter(None, facts))]
    if any(row.get("is_busy") or row.get("verdict") == "withheld" for row in timed):
        lines.append("the machine was too busy: verdicts on time are withheld")
    drawn = [row for row in rows if row["table"] == "field"]
    if drawn and all(row.get("weights") == "random" for row in drawn):
        number = "one " if all(map(fields.is_of_one_draw, drawn)) else ""
        lines.append(f"receptive fields at {number}initialisation")
    if inferred := dict.fromkeys(str(row["model"]) for row in networks if row.get("inferred")):
        lines.append(f"settings of {listed(list(inferred))} are partly inferred")
    if any(str(commit).endswith("-dirty") for commit in run.get("commits") or (run.get("commit"),)):
        lines.append("measured with uncommitted changes to the code")
    return "; ".join(lines) + "."


def _on_time(chosen: Sequence[Row]) -> str:
    timed = sorted((row for row in chosen if row.get("ratio")), key=effect, reverse=True)
    if not timed:
        return ""
    verdicts = [time_verdict(row) for row in timed]
    shrunk = all((row.get("params_change") or 0.0) < -findings.SAME for row in timed if time_verdict(row) == "faster")
    titles = {"faster": "smaller and faster" if shrunk else "faster"}
    whose, total, parts = added_module(timed[0]), len(timed), list[str]()
    names = [subject(row, timed) for row in timed]
    kind = "backbones" if whose and names == [str(row["baseline"]) for row in timed] else "networks"
    is_clear_of_one = bool(whose) and {*verdicts} <= {"faster", "slower"}
    for verdict, number in ((verdict, verdicts.count(verdict)) for verdict in _VERDICTS if verdict in verdicts):
        share = ("both" if total == 2 else f"all {count(total)}") if number == total else count(number)
        share += "" if number == total else f" of {count(total)}"
        whom = names[0] if total == 1 else count(number) if parts else f"{share} {kind}"
        verdict = titles.get(verdict, verdict)
        parts.append(f"{whom} {verdict}" if is_clear_of_one else f"{verdict} for {whom}")
    device = _DEVICES.get(str(timed[0].get("device") or "").partition(":")[0])
    head = f"{whose} makes" if is_clear_of_one else f"Time{f' with {whose}' if whose else ''} against the baseline:"
    head += f" {parts[0]}{f' on {device}' if device else ''}{f', and {listed(parts[1:])}' if parts[1:] else ''}"
    first, *further = zip(names, (units.ratio(row["ratio"]) for row in timed[:MOST_NAMES]), strict=False)
    rest = "".join(f", {name} {ratio} ×" for name, ratio in further)
    return f"{head}: {first[0]} needs {first[1]} × the time of its baseline{rest}."


def _on_runtimes(chosen: Sequence[Row]) -> str:
    timed = [row for row in chosen if row.get("ratio") and len(row.get("runtimes") or ()) > 1]
    if not timed:
        return ""
    names = dict.fromkeys(name for row in timed for name in row["runtimes"])
    verdicts = {name: [time_verdict(row, name) for row in timed if row.get(key_in(name, "ratio"))] for name in names}
    reference = verdicts[USUAL] if USUAL in verdicts else next(iter(verdicts.values()))
    if all(judged == reference and {*judged} <= {"faster", "slower"} for judged in verdicts.values()):
        return f"The sign holds in all {count(len(names))} runtimes."
    differing = [name for name, judged in verdicts.items() if judged != reference]
    titles = {name: str(timed[0].get(key_in(name, "runtime_title")) or name) for name in names}
    return f"The verdicts differ in {listed([titles[name] for name in differing])}." if differing else ""


def _on_accuracy(rows: Sequence[Row], chosen: Sequence[Row], networks: Sequence[Row]) -> str:
    trained = [row for row in chosen if row.get("accuracy_difference") is not None]
    if not trained:
        claimed = any(row["table"] == "claim" and row.get("quantity") == "accuracy" for row in rows)
        return f"Accuracy{' at full size' if claimed else ''} was not tested." if chosen else ""
    head = f"Trained from scratch, {added_module(trained[0]) or 'it'} changes accuracy"
    clear = [row for row in trained if is_clear(row)]
    same = [row for row in trained if row.get("accuracy_verdict") == "same"]
    text = _changes(trained, clear, "accuracy_difference", head, "Accuracy after training", same)
    weak = [
        row["baseline"]
        for row, baseline in zip(trained, tables.baselines(trained, networks), strict=True)
        if under_training((baseline or {}).get("runs") or ())
    ]
    return text + (f". Under-trained: {listed(weak)}." if weak else ".")


def _on_fields(chosen: Sequence[Row]) -> str:
    """Return the sentence of a report that has nothing else."""
    keys = ("r50_difference", "r50_difference_low", "r50_difference_high")
    measured = [{**row, **{key: 100 * row[key] for key in keys}} for row in chosen if row.get(keys[1]) is not None]
    if not measured or any(row.get("ratio") or row.get("accuracy_difference") is not None for row in chosen):
        return ""
    clear = [row for row in measured if not row[keys[1]] <= 0 <= row[keys[2]]]
    return (
        _changes(measured, clear, keys[0], f"{added_module(measured[0]) or 'It'} changes r(50 %)", "Its r(50 %)") + "."
    )


def _changes(
    rows: Sequence[Row], clear: Sequence[Row], key: str, head: str, without: str, same: Sequence[Row] = ()
) -> str:
    """Return the changes that are clear, the largest first, and the others, as one sentence without its end."""
    ordered = sorted(clear, key=lambda row: -abs(row[key]))
    lines = [f"{points(row[key])} in {subject(row, rows)}" for row in ordered]
    text = f"{head} by {listed(lines)}" if lines else ""
    inconclusive = [row for row in rows if row not in ordered and row not in same]
    for verdict, others in (("the same", same), ("inconclusive", inconclusive)):
        if others:
            names = listed([f"{subject(row, rows)} ({points(row[key])})" for row in others])
            text += f"{'; it is' if text else f'{without} is'} {verdict} in {names}"
    return text
