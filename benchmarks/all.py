"""Run the benchmarks one after the other, and write their figures into benchmarks/README.md, all of one commit.

    python -m nox -s benchmarks                         # in an environment with the peers
    python benchmarks/all.py --only erf,scsc            # some of them; the others' figures stay as they are
    python benchmarks/all.py --skip aa                  # all but some

Nothing else should run meanwhile: the load of the machine stands beside every part. Parts that take hours are continued
from their rows by their own scripts, and only their tables are written here.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from scsc_lab import files
from scsc_lab.provenance import run_info

FOLDER = Path(__file__).parent
NOTES = FOLDER / "notes.md"

HEAD = """# Benchmarks

Scripts that measure side by side in one run, in alternation or in pairs of random order, and print medians and ratios.
Nothing in them asserts a time; numbers from two runs are not compared. `python -m nox -s benchmarks` runs them and
writes this file; what the figures mean is in [notes.md](notes.md).
"""


@dataclass(frozen=True)
class Part:
    """A benchmark.

    Attributes:
        title: heading.
        script: file and arguments.
        aim: what is aimed at, beside the figures; empty: nothing.
        is_text: whether it prints lines, not Markdown.
        rows: file of the rows that it makes a table of, where its own runs take hours; empty: it measures now.
    """

    title: str
    script: str
    aim: str = ""
    is_text: bool = False
    rows: str = ""

    @property
    def name(self) -> str:
        """Name of the script."""
        return self.script.partition(".py")[0]


PARTS = (
    Part(
        "Counting",
        "counting.py",
        "a whole process within 1.20 × `import torch` without the cross-check and 1.6 × with it, `--help` in 0.15 s; "
        "in a warm process three times as fast as fvcore.",
    ),
    Part(
        "The first command",
        "first_command.py",
        "200 passes of Swin-T; of these, receptive fields 15 s where they took 40.",
    ),
    Part("Receptive fields", "erf.py --threads 1", "three times RepLKNet's loop.", is_text=True),
    Part(
        "SCSC's own speed",
        "scsc.py",
        "2 × for the deploy form and 1.3 × for the ordinary forward, geometric means over the block's rows.",
    ),
    Part("Training", "training.py", "each step at least as fast as autograd's."),
    Part("How far a perturbation grows", "perturbation.py", "below 1 % of the loss for an epoch."),
    Part("Search", "search.py", "10,000 specs a second.", is_text=True),
    Part(
        "Reports and stores",
        "scale.py",
        "1,000 networks in 10 s, nothing quadratic, 10,000 rows read in under a second.",
    ),
    Part(
        "The page", "page.py --rows 500", "first paint under 2 s, sorting under 0.2 s, with 500 networks.", is_text=True
    ),
    Part("Is a network faster than itself?", "aa.py", "called faster or slower in 6 % at most.", is_text=True),
    Part(
        "How a transplant starts",
        "transplants.py",
        "variances of the output within a factor of ten of the original's, in training mode.",
    ),
    Part(
        "Export",
        "export_sweep.py --report",
        "every family of timm agrees with torch.",
        rows="reports/timm/export.jsonl",
    ),
)


def main() -> None:
    """Run the parts and write the file after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [part.name for part in PARTS]
    parser.add_argument("--only", default=",".join(names), help=f"comma-separated: {', '.join(names)}")
    parser.add_argument("--skip", default="", help="comma-separated: those to leave out")
    parser.add_argument("--output", type=Path, default=FOLDER / "README.md")
    options = parser.parse_args()
    only, skipped = options.only.split(","), list(filter(None, options.skip.split(",")))
    if unknown := sorted({*only, *skipped} - set(names)):
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(names)}")
    sections = _sections(options.output)
    failed = []
    for part in (part for part in PARTS if part.name in only and part.name not in skipped):
        print(f"{part.script} …", file=sys.stderr, flush=True)
        section = _measured(part)
        if section is None:
            failed.append(part.script)
            continue
        sections[part.title] = section
        known = [part for part in PARTS if part.title in sections]
        files.write(options.output, "\n".join([HEAD, *(sections[part.title] for part in known)]).encode())
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def _sections(path: Path) -> dict[str, str]:
    """Return the sections of a file that an earlier run has written, by their headings."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    parts = re.split(r"^(?=## )", text, flags=re.MULTILINE)[1:] if text.startswith(HEAD) else []
    return {part.partition("\n")[0].removeprefix("## "): part.rstrip("\n") + "\n" for part in parts}


def _measured(part: Part) -> str | None:
    """Run a benchmark and return its section; None if it failed, whose message is then shown."""
    load, start = os.getloadavg()[0], time.perf_counter()
    script, *arguments = part.script.split()
    command = [sys.executable, str(FOLDER / script), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(FOLDER.parent)}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env=environment)
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        return None
    run, minutes = run_info(), (time.perf_counter() - start) / 60
    output = done.stdout.strip("\n")
    where = f"torch {run.versions['torch']}, {run.machine['processor']}, {os.cpu_count()} cores"
    measured = (
        f"{run.time[:10]}, commit {run.commit or 'unknown'}, {where}; {minutes:.1f} minutes, load before {load:.1f}"
    )
    if part.rows:
        measured = f"the rows of {part.rows}, measured earlier"
    return "\n".join(
        [
            f"## {part.title}",
            "",
            f"`benchmarks/{part.script}`, {measured}.",
            *(("", f"Aim: {part.aim}") if part.aim else ()),
            "",
            *(("```", output, "```") if part.is_text else (output,)),
            "",
        ]
    )


if __name__ == "__main__":
    main()
