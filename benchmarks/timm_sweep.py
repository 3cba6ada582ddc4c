"""Count every architecture that timm lists, at its native size, and hold the smaller ones against fvcore.

    python benchmarks/timm_sweep.py            # resumes where it stopped; rows in reports/timm/rows.jsonl
    python benchmarks/timm_sweep.py --report   # writes reports/timm/README.md from the rows

An architecture is held against fvcore, which needs real tensors, if it has at most 100 G MACs and 400 M parameters.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from scsc_lab import files, units
from scsc_lab.counting.crosscheck import DIFFERENCES, NO_RULE, cross_check
from scsc_lab.errors import InputError
from scsc_lab.metrics.size import counted
from scsc_lab.models import build
from scsc_lab.networks.network import Network
from scsc_lab.provenance import versions
from scsc_lab.report import tables
from scsc_lab.report.render import columns_to_csv, markdown
from scsc_lab.report.tables import Column, Table

FOLDER = Path(__file__).parents[1] / "reports" / "timm"
ROWS = FOLDER / "rows.jsonl"
LARGEST_MACS = 100e9
LARGEST_PARAMS = 400e6


def measure(name: str) -> dict[str, Any]:
    """Return one architecture's row: its count, and fvcore's verdict on it."""
    row: dict[str, Any] = {"model": name, **{key: versions().get(key, "") for key in ("torch", "timm")}}
    try:
        network = Network.read(f"timm:{name}")
        known = build.facts(network)
        shape = (1, known.channels, *known.resolution)
        count = counted(network)
    except InputError as error:
        return {**row, "status": "failed", "failure": str(error)}
    row |= {"resolution": list(known.resolution), "remark": count.remark, **count.row()}
    if count.macs <= LARGEST_MACS and count.params <= LARGEST_PARAMS:
        check = cross_check(build.empty(network, "cpu"), shape, count)
        unexplained = [f"{o.operator}: {o.counted} for {o.predicted}" for o in check.operators if not o.explained]
        differing = sorted({o.operator for o in check.operators if o.counted != o.macs})
        row |= {"fvcore_flops": check.flops, "check": check.verdict, "check_failure": check.failure}
        row |= {"unexplained": unexplained, "differences": differing}
    else:
        row |= {"check": "too large"}
    return {key: value for key, value in row.items() if value not in ("", [], {}, None)}


def read() -> dict[str, dict[str, Any]]:
    """Return the rows there are; a last line torn by a kill is left out."""
    rows = {}
    for line in ROWS.read_text().splitlines() if ROWS.exists() else []:
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        rows[row["model"]] = row
    return rows


def report() -> None:
    """Write the table of all rows, and what they come to."""
    rows = sorted(read().values(), key=lambda row: str(row["model"]))
    statuses, checks = Counter(row["status"] for row in rows), Counter(row.get("check", "not counted") for row in rows)
    total = len(rows)
    lines = [
        "# Every architecture of timm, counted",
        "",
        f"{total} architectures at their native size, batch 1, evaluation mode: {statuses['complete']} counted "
        f"complete ({100 * statuses['complete'] / total:.1f} %), {statuses['partial']} partial, "
        f"{statuses['failed']} failed.",
        "",
        f"fvcore counted those of at most {LARGEST_MACS / 1e9:.0f} G MACs and {LARGEST_PARAMS / 1e6:.0f} M parameters: "
        f"{checks['explained']} explained by operator to the last operation, {checks['unexplained']} unexplained, "
        f"{checks['impossible']} that fvcore cannot trace; {checks['too large']} were too large.",
        "",
        f"torch {_among(rows, 'torch')}, timm {_among(rows, 'timm')}, fvcore {versions()['fvcore']}. "
        "Made by `python benchmarks/timm_sweep.py`; `rows.jsonl` has the raw numbers.",
        "",
        "## Not complete, or not explained",
        "",
    ]
    for row in rows:
        unknown = ", ".join(f"{name} ({calls} calls)" for name, calls in row.get("unknown_operators", {}).items())
        why = row.get("failure") or unknown
        if row["status"] != "complete":
            lines.append(f"- {row['model']}: {row['status']}: {markdown.text(str(why))}")
        elif row.get("check") in ("unexplained", "impossible"):
            why = row.get("check_failure") or "; ".join(row["unexplained"])
            lines.append(f"- {row['model']}: fvcore {row['check']}: {markdown.text(str(why))}")
    listed = lines[-1] != ""
    on_real = [row for row in rows if row.get("remark")]
    lines += [] if listed else ["None."]
    lines += ["", "## Not countable on the meta device, counted on real tensors", ""]
    lines += [f"- {row['model']}: {markdown.text(str(row['remark']))}" for row in on_real] or ["None."]
    lines += ["", "## What explains the differences to fvcore", ""]
    networks_of = Counter(operator for row in rows for operator in row.get("differences", []))
    lines += [
        f"- {markdown.text(operator)}: {DIFFERENCES.get(operator, NO_RULE)} ({number} networks)"
        for operator, number in networks_of.most_common()
    ]
    columns = (
        tables.MODEL,
        tables.INPUT,
        tables.PARAMS,
        tables.MACS,
        tables.ACTIVATIONS,
        Column("status", "status", number=False),
        Column("fvcore_flops", "fvcore", units.giga, unit="G"),
        Column("check", "difference", number=False),
    )
    table = Table(columns, tuple(row for row in rows if row["status"] != "failed"))
    lines += ["", "## All", "", f"[networks.csv](networks.csv) has a row for each of the {total:,} networks.", ""]
    files.write(FOLDER / "networks.csv", columns_to_csv(table))
    files.write(FOLDER / "README.md", "\n".join(lines))
    print("\n".join(lines[:8]))


def _among(rows: list[dict[str, Any]], key: str) -> str:
    return " and ".join(sorted({str(row[key]) for row in rows}))


def main() -> None:
    """Measure what is missing, then write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", action="store_true", help="only write the report from the rows there are")
    parser.add_argument("--only", default="*", help="pattern of names, as timm.list_models takes it")
    options = parser.parse_args()
    if not options.report:
        import timm

        warnings.simplefilter("ignore")
        FOLDER.mkdir(parents=True, exist_ok=True)
        done = read()
        names = [name for name in timm.list_models(options.only) if name not in done]
        with ROWS.open("a") as file:
            for index, name in enumerate(names, start=1):
                row = measure(name)
                file.write(json.dumps(row) + "\n")
                file.flush()
                verdict = f"{row['status']}, fvcore {row.get('check', '-')}"
                print(f"[{index}/{len(names)}] {name}: {verdict} {row.get('unexplained') or ''}", flush=True)
    report()


if __name__ == "__main__":
    main()
