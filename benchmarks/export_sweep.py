"""Export one network of every family of timm to ONNX, run it, and hold it against torch; beside torch's exporter alone.

    python benchmarks/export_sweep.py            # resumes where it stopped; rows in reports/timm/export.jsonl
    python benchmarks/export_sweep.py --report   # prints the table of the rows there are

A family is a module of timm; it is stood for by its architecture with the fewest MACs in reports/timm/rows.jsonl, at
its native size, with random weights. *alone* is ``torch.onnx.export(model, (x,), dynamo=True)`` and nothing else. Each
is made in a process of its own, and given up after ten minutes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from scsc_lab.errors import InputError, last_line
from scsc_lab.execution.agreement import agreement
from scsc_lab.exporting.onnx_graph import in_onnxruntime
from scsc_lab.metrics.export import Export, export
from scsc_lab.models import build
from scsc_lab.networks.network import Network
from scsc_lab.provenance import versions
from scsc_lab.report.render import markdown

FOLDER = Path(__file__).parents[1] / "reports" / "timm"
SECONDS = 600
Outcome = dict[str, Any]


def ours(name: str) -> Outcome:
    """Export a network as ``scsc-lab export`` does."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = export(Network.read(f"timm:{name}"), Export(str(Path(folder) / "model.onnx")))
        except InputError as error:
            return {"stage": _stage(str(error)), "failure": str(error)}
    return {"stage": "agrees", "difference": found.agreement.difference, "float32_rounding": found.agreement.rounding}


def alone(name: str) -> Outcome:
    """Export a network with torch's exporter and nothing else, and hold it against torch in the same way."""
    network = Network.read(f"timm:{name}")
    known = build.facts(network)
    model = build.build(network, 0)
    x = torch.randn(1, known.channels, *known.resolution, generator=torch.Generator().manual_seed(0))
    try:
        program = torch.onnx.export(model, (x,), dynamo=True, verbose=False)
        assert program is not None
        data = program.model_proto.SerializeToString()
    except Exception as error:  # whatever the exporter raises
        return {"stage": "not exported", "failure": last_line(error)}
    try:
        found = agreement(in_onnxruntime(data), model, [[x]], "the exported file")
    except InputError as error:
        return {"stage": _stage(str(error)), "failure": str(error)}
    return {"stage": "agrees", "difference": found.difference, "float32_rounding": found.rounding}


def _stage(failure: str) -> str:
    if "differs from torch" in failure or "other shapes" in failure:
        return "differs"
    if "its own output" in failure:
        return "not comparable"
    return "does not run" if "refuses" in failure or "does not run" in failure else "not exported"


def apart(work: Callable[[str], Outcome], name: str) -> Outcome:
    """Do something in a process of its own: what hangs is given up, what crashes is said to."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(work, name, sender))
    process.start()
    sender.close()
    try:
        if receiver.poll(SECONDS):
            outcome: Outcome = receiver.recv()
            return outcome
        return {"stage": "not exported", "failure": f"not done in {SECONDS} s"}
    except EOFError:
        return {"stage": "not exported", "failure": "the process ended"}
    finally:
        process.kill()
        process.join()


def _send(work: Callable[[str], Outcome], name: str, sender: Connection) -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    try:
        sender.send(work(name))
    except Exception as error:  # whatever the network's own code raises
        sender.send({"stage": "not exported", "failure": last_line(error)})


def chosen() -> dict[str, str]:
    """Return the architecture that stands for each family: the one with the fewest MACs."""
    import timm

    rows = [json.loads(line) for line in (FOLDER / "rows.jsonl").read_text().splitlines()]
    macs = {row["model"]: row["macs"] for row in rows if "macs" in row}
    families = {module: timm.list_models(module=module) for module in timm.list_modules()}
    smallest = {
        family: min(names, key=lambda name: macs.get(name, 1e18)) for family, names in families.items() if names
    }
    return dict(sorted(smallest.items(), key=lambda pair: float(macs.get(pair[1], 1e18))))


def report(rows: list[dict[str, Any]]) -> str:
    """Return what came of it: how many export, run and agree, and every family where anything else happened."""
    lines = [
        f"{len(rows)} families; torch {versions()['torch']}, timm {versions()['timm']}.",
        "",
        "| | `scsc-lab export` | `torch.onnx.export` alone |",
        "|:--|--:|--:|",
    ]
    counts = {key: Counter(row[key]["stage"] for row in rows) for key in ("ours", "alone")}
    stages = ("agrees", "differs", "not comparable", "does not run", "not exported")
    lines += [f"| {stage} | {counts['ours'][stage]} | {counts['alone'][stage]} |" for stage in stages]
    largest = max((row["ours"]["difference"] for row in rows if row["ours"]["stage"] == "agrees"), default=0.0)
    lines += ["", f"Largest difference among those that agree: {largest:.1e} of the largest output.", ""]
    shown = [row for row in rows if {row[key]["stage"] for key in ("ours", "alone")} != {"agrees"}]
    if shown:
        lines += ["| family | network | `scsc-lab export` | alone |", "|:--|:--|:--|:--|"]
    for row in sorted(shown, key=lambda row: str(row["family"])):
        cells = [
            f"{row[key]['stage']}{': ' if row[key].get('failure') else ''}{_short(row[key].get('failure', ''))}"
            for key in ("ours", "alone")
        ]
        lines.append(f"| {row['family']} | {row['model']} | {' | '.join(map(markdown.text, cells))} |")
    return "\n".join(lines)


def _short(text: str, most: int = 160) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[:most]} …"


def main() -> None:
    """Export what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", action="store_true", help="only print the table of the rows there are")
    options = parser.parse_args()
    path = FOLDER / "export.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    if not options.report:
        families = chosen()
        for index, (family, name) in enumerate(families.items(), start=1):
            if all(row["family"] != family for row in rows):
                row = {"key": family, "family": family, "model": name, "ours": apart(ours, name)}
                rows.append({**row, "alone": apart(alone, name)})
                with path.open("a") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
                print(f"[{index}/{len(families)}] {name}: {rows[-1]['ours']} {rows[-1]['alone']}", flush=True)
    print(report(rows))


if __name__ == "__main__":
    main()
