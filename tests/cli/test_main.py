"""How a command ends: its exit code, what it prints where printing fails, and what it records of itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import typer

from scsc_lab.cli import app, main

ENDS = {
    "sys.exit(0)": "SystemExit: 0",
    "raise SystemExit": "SystemExit",
    "raise GeneratorExit": "GeneratorExit",
    "raise asyncio.CancelledError('no')": "CancelledError: no",
}


@pytest.mark.parametrize("command", ["flops", "erf"])
@pytest.mark.parametrize("statement", ENDS)
def test_a_network_that_ends_the_process_is_a_mistake(command, statement, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ends.py").write_text(
        f"import asyncio, sys\nfrom torch import nn\n\nclass Forward(nn.Conv2d):\n    def forward(self, x):\n"
        f"        1\n        {statement}\n\ndef inside():\n    return Forward(3, 3, 1)\n"
    )
    assert main([command, "ends.py:inside", "--resolution", "8"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert ENDS[statement] in captured.err


def shell(command, **environment):
    command = command.replace("scsc-lab", f"{sys.executable} -m scsc_lab")
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, env={**os.environ, **environment}, check=False
    )


@pytest.mark.parametrize(
    ("command", "code", "complaint"),
    [
        ("scsc-lab models >&-", 2, "standard output is closed"),
        ("scsc-lab models >&- 2>&-", 2, ""),
        ("scsc-lab models 2>&- >/dev/null", 0, ""),
        ("scsc-lab models >/dev/full", 2, "cannot write to standard output: No space left on device"),
        ("scsc-lab models --format json >/dev/full", 2, "cannot write to standard output: No space left on device"),
        ("scsc-lab models | head -n 1", 0, ""),
        ("scsc-lab models --format csv -o /dev/stdout | head -n 1", 0, ""),
        ("scsc-lab models --format csv -o /dev/full", 2, "cannot write /dev/full: No space left on device"),
    ],
)
def test_an_output_that_ends(command, code, complaint):
    result = shell(command)
    assert result.returncode == code
    assert result.stderr.decode().count("\n") == bool(complaint)
    assert complaint in result.stderr.decode()


@pytest.mark.parametrize(
    ("format", "encoding"),
    [("table", "ascii"), ("table", "latin-1"), ("json", "ascii"), ("markdown", "latin-1"), ("csv", "ascii")],
)
def test_terminals_of_few_characters(format, encoding):
    result = shell(f"scsc-lab models --format {format}", PYTHONIOENCODING=encoding)
    assert (result.returncode, result.stderr) == (0, b"")
    printed = result.stdout.decode(encoding)
    assert "224" in printed
    if format == "json":
        assert any("×" in row["inferred"] for row in json.loads(printed)["rows"])


def test_the_command_recorded_is_the_one_given(monkeypatch, capsys):
    from scsc_lab.provenance import run_info

    monkeypatch.setattr(sys, "argv", ["ipykernel_launcher.py", "-f", "kernel.json"])
    assert main(["models", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["run"]["command"] == "scsc-lab models --format json"
    assert run_info().command == ""
    monkeypatch.setattr(sys, "argv", ["scsc-lab", "models", "--format", "json"])
    assert main() == 0
    assert json.loads(capsys.readouterr().out)["run"]["command"] == "scsc-lab models --format json"


def test_the_overview_has_whole_sentences_in_80_columns_and_an_example_of_every_command(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    shown = " ".join(" ".join(lines).split())
    assert "…" not in shown
    assert "..." not in shown.partition("Commands:")[2]
    commands = typer.main.get_command(app).commands
    for name, command in commands.items():
        first = " ".join(command.help.partition("\n\n")[0].split())
        assert first.endswith(".")
        assert first in shown
        example = command.example
        words = example.split()
        assert f"$ {example}" in shown
        assert words[:2] == ["scsc-lab", name]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= known
    heads = [line.split()[0] for line in lines if line.startswith("  ") and line[2:3].isalpha()]
    assert [name for name in heads if name in commands] == list(commands)


def test_a_file_name_that_is_no_text_is_printed_in_other_letters(capsys, monkeypatch):
    def interrupted(*_, **__):
        typer.echo("\udcff keeps 3 measurements", err=True)
        raise KeyboardInterrupt

    monkeypatch.setattr("scsc_lab.experiments.train.scheduled", interrupted)
    assert main(["train", "swin_pico", "--seeds", "1"]) == 130
    assert "? keeps 3 measurements" in capsys.readouterr().err
