"""The command line in a process of its own, where a package of scsc_lab has one more file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

_CODE = """
import contextlib, importlib, io, json, sys
package, folder, commands = sys.argv[1:]
importlib.import_module(package).__path__.append(folder)
from scsc_lab.cli import main
ends = []
for command in json.loads(commands):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = main(command.split())
    ends.append((code, out.getvalue(), err.getvalue()))
print(json.dumps(ends))
"""


def run(package: str, name: str, source: str, folder: Path, commands: list[str]) -> list[tuple[int, str, str]]:
    """Return the exit code, output and complaint of each command, run in a folder."""
    (folder / "more").mkdir()
    (folder / "more" / name).write_text(source)
    words = [sys.executable, "-c", _CODE, package, str(folder / "more"), json.dumps(commands)]
    environment = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, cwd=folder, env=environment, check=True)
    return [tuple(end) for end in json.loads(done.stdout.splitlines()[-1])]
