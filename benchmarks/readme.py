"""Writes the README's "Results at a glance" from the committed reports.

python benchmarks/readme.py
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
BACKBONES = ("resnet50", "swin_tiny", "faceresnet")
PICO = {"resnet50": "resnet_pico", "swin_tiny": "swin_pico", "faceresnet": "faceresnet_pico"}
HEAD = (
    "| backbone | Δ params | Δ MACs | time ×, 95 % | r(50 %) | trained probe, Δ points |\n|:--|--:|--:|--:|--:|--:|\n"
)


def glance() -> str:
    """Return the table: one row per backbone, what SCSC changes in it."""
    full = _rows(ROOT / "reports" / "full" / "README.md", "## Networks, side by side")
    probe = _rows(ROOT / "reports" / "accuracy" / "README.md", "## Accuracy, by training")
    lines = []
    for backbone in BACKBONES:
        before, after = full[backbone], full[f"scsc_{backbone}"]
        field = f"{before['r(50%)']} → {after['r(50%)']}"
        (points,) = [
            cell for heading, cell in probe[f"scsc_{PICO[backbone]}"].items() if heading.startswith("Δ points")
        ]
        params, macs = (after[heading].partition(" (")[2].rstrip(")") for heading in ("params (M)", "MACs (G)"))
        changes = (params, macs, after["time ×, 95%"], field, points)
        lines.append(f"| {backbone} | {' | '.join(changes)} |\n")
    return HEAD + "".join(lines)


def _rows(report: Path, heading: str) -> dict[str, dict[str, str]]:
    """Return the rows of a section's tables of networks by model: of cells that have one heading the first."""
    rows: dict[str, dict[str, str]] = {}
    section = report.read_text().partition(f"{heading}\n")[2].partition("\n## ")[0]
    for table in re.findall(r"^\| model .*\n(?:\|.*\n)+", section, re.MULTILINE):
        head, _, *lines = ([cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines())
        for line in lines:
            rows[line[0]] = dict(zip(head, line, strict=False)) | rows.get(line[0], {})
    return rows


def main() -> None:
    """Replace the table in the README."""
    path = ROOT / "README.md"
    path.write_text(re.sub(r"\| backbone .*\n(?:\|.*\n)+", lambda _: glance(), path.read_text(), count=1))


if __name__ == "__main__":
    main()
