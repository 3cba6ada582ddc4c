"""Measures again what the README shows: each fenced block that begins with ``$ scsc-lab`` gets its command's output.

    python benchmarks/readme.py                  # every block that has an output
    python benchmarks/readme.py latency compare  # those of some commands

On a quiet machine, since blocks of times are among them. The table under "What it finds" is that of reports/full.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
_BLOCK = re.compile(r"^```\n\$ scsc-lab (?P<words>[^\n]+)\n(?P<output>(?![$`]).+?)^```$", re.MULTILINE | re.DOTALL)
_TABLE = re.compile(r"(?:^\|.*\n)+", re.MULTILINE)


def main(commands: list[str]) -> None:
    """Replace the outputs of these commands, or of all if none is named, and the table of the report."""
    text = README.read_text()
    report = (README.parent / "reports" / "full" / "README.md").read_text()
    tables = _TABLE.search(report.partition("## Networks, side by side")[2])
    assert tables is not None
    head, heading, rest = text.partition("## What it finds")
    text = head + heading + _TABLE.sub(lambda _: tables[0], rest, count=1)
    README.write_text(_BLOCK.sub(lambda block: _again(block, commands), text))


def _again(block: re.Match[str], commands: list[str]) -> str:
    words = shlex.split(block["words"])
    if commands and words[0] not in commands:
        return block[0]
    print("scsc-lab", *words, flush=True)
    environment = {**os.environ, "COLUMNS": "80"}
    ran = subprocess.run(
        [sys.executable, "-m", "scsc_lab", *words], capture_output=True, text=True, check=True, env=environment
    )
    return f"```\n$ scsc-lab {block['words']}\n{ran.stdout.rstrip()}\n```"


if __name__ == "__main__":
    main(sys.argv[1:])
