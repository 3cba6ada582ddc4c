"""How soon a report of 500 networks can be read: first paint, plots, a column sorted, a filter, a baseline chosen.

    python benchmarks/page.py [--rows 500] [--times 7] [--output page.json]

Goals: first paint under 2 s, sorting under 0.2 s; medians of visits, each of a new page in Debian's Chromium (or the
one that CHROMIUM names).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from scsc_lab import metrics
from scsc_lab.report import comparison, tables
from scsc_lab.report.document import Document, Grid, Paragraph, Section
from scsc_lab.report.render import html

GOALS = {"first_paint_seconds": 2.0, "sort_seconds": 0.2}

_CLICKED = """async (pressed) => {
  const section = document.querySelector("section[data-table=networks]");
  const start = performance.now();
  if (pressed === "sort") section.querySelectorAll("th button")[2].click();
  if (pressed === "filter") {
    const box = section.querySelector(".filter");
    box.value = "net1";
    box.dispatchEvent(new Event("input"));
  }
  if (pressed === "baseline") {
    const box = section.querySelector(".baseline");
    box.selectedIndex = 1;
    box.dispatchEvent(new Event("change"));
  }
  document.body.offsetHeight;
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  return (performance.now() - start) / 1e3;
}"""


def main() -> None:
    """Measure and print one line a number."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--times", type=int, default=7)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index.html"
        path.write_text(page(given.rows), encoding="utf-8")
        visits = visited(path, given.times)
        size = path.stat().st_size
    found: dict[str, Any] = {"rows": given.rows, "visits": given.times, "megabytes": size / 1e6}
    found |= {key: statistics.median(visit[key] for visit in visits) for key in visits[0]}
    for key, value in found.items():
        goal = f"  (goal: under {GOALS[key]:g})" if key in GOALS else ""
        print(f"{key:22} {value:8.3f}{goal}")
    if given.output:
        given.output.write_text(json.dumps({**found, "each": visits}, indent=1) + "\n")


def page(rows: int) -> str:
    """Return the page of a table of so many networks, drawn at random with a seed, each timed 30 times."""
    draw = random.Random(0)
    networks = []
    for index in range(rows):
        seconds = draw.uniform(0.01, 0.5)
        row = {"model": f"net{index}", "baseline": "net0", "resolution": [224, 224], "batch": 1, "threads": 1}
        row |= {"params": draw.randrange(10**6, 10**8), "macs": draw.randrange(10**8, 10**10)}
        row |= {"activations": draw.randrange(10**6, 10**8), "median_seconds": seconds, "dtype": "float32"}
        row |= {"device": "cpu", "device_name": "a processor", "compile": False, "mode": "eval", "verdict": None}
        row |= {"samples_seconds": [seconds * draw.lognormvariate(0, 0.05) for _ in range(30)]}
        row |= {"ratio": 1.1, "ratio_low": 1.05, "ratio_high": 1.15} if index else {"ratio": None}
        networks.append(row)
    columns = [metrics.columns()[word] for word in ("params", "macs", "activations", "latency")]
    networks = tables.with_changes(networks, columns, 0)
    grid = Grid(comparison.wide_table(networks, columns), "networks")
    document = Document(f"{rows} networks", (Paragraph("Drawn at random."),), (Section("Networks", (grid,)),))
    return html.document(document, metrics.columns(), lambda rows, words: [], {})


def visited(path: Path, times: int) -> list[dict[str, float]]:
    """Return what each visit of a page took, in seconds."""
    browser_path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    found = []
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        for _ in range(times):
            tab = browser.new_page(viewport={"width": 1600, "height": 900})
            tab.goto(path.as_uri())
            tab.wait_for_selector("html[data-drawn]", timeout=120_000)
            found.append({**_loaded(tab), **{f"{what}_seconds": _clicked(tab, what) for what in _ACTIONS}})
            tab.close()
        browser.close()
    return found


_ACTIONS = ("sort", "filter", "baseline")


def _loaded(tab: Page) -> dict[str, float]:
    paint = tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime / 1e3")
    drawn = tab.evaluate("performance.getEntriesByName('drawn')[0].startTime / 1e3")
    return {"first_paint_seconds": float(paint), "plots_seconds": float(drawn)}


def _clicked(tab: Page, what: str) -> float:
    return float(tab.evaluate(_CLICKED, what))


if __name__ == "__main__":
    main()
