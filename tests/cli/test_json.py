"""``--format json`` of every command is JSON to the letter, and ``README.md`` says nothing that cannot be typed."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import typer

from scsc_lab import InputError
from scsc_lab.cli import app, main

README = (Path(__file__).parents[2] / "README.md").read_text()

NET = """
from torch import nn

def tiny(width: int = 4, classes: int = 3):
    return nn.Sequential(nn.Conv2d(3, width, 3, 2, 1), nn.ReLU(), nn.Conv2d(width, width, 3, 2, 1), nn.ReLU(),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))

def nothing():  # no parameters, no arithmetic: shares and ratios of nothing
    return nn.Identity()
"""

QUICK = "--pairs 2 --min-time 0 --max-time 0.05"
COMMANDS = [
    "flops net.py:tiny net.py:nothing --resolution 16",
    "flops net.py:nothing net.py:tiny --resolution 16 --no-check",
    "flops net.py:nothing net.py:tiny --resolution 16 --by operator",
    "flops net.py:tiny --resolution 16 --transplant",
    f"latency net.py:tiny net.py:nothing --resolution 16 {QUICK}",
    f"latency net.py:tiny --resolution 16 {QUICK} --by module",
    f"latency net.py:tiny --resolution 16 {QUICK} --self-test",
    "erf net.py:tiny --resolution 16 --samples 2 --layer 0",
    "compare net.py:tiny net.py:nothing --resolution 16 --max-time 0.05 --with params,macs,latency,top1",
    "compare net.py:tiny net.py:tiny[width=8] --resolution 16 --by module",
    "train net.py:tiny --train-images 32 --test-images 8 --epochs 1 --seeds 2 --resolution 32",
    "evaluate net.py:tiny --set classes=20 --test-images 8 --resolution 32",
    "export net.py:tiny --resolution 16 --output net.pt2",
    f"roofline net.py:tiny net.py:nothing --resolution 16 {QUICK}",
    "search net.py:tiny --space width=4,8 --minimise params,macs --trials 2 --resolution 16",
    "sweep net.py:tiny net.py:nothing --over resolution=16..48:16 --with macs,params",
    "models",
    "paper",
    "ablate scsc_faceresnet --study groups --no-draw",
]


def strictly(text):
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("command", COMMANDS)
def test_json_is_strict(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    assert main([*shlex.split(command), "--format", "json"]) in (0, 1)
    document = strictly(capsys.readouterr().out)
    assert {"schema", "run", "rows"} <= document.keys()
    assert document["rows"]
    assert shlex.split(document["run"]["command"]) == ["scsc-lab", *shlex.split(command), "--format", "json"]


def test_every_command_has_its_json_tried():
    wanted = {
        name
        for name, command in typer.main.get_command(app).commands.items()
        if any("--format" in parameter.opts for parameter in command.params)
    }
    assert wanted == {command.split()[0] for command in COMMANDS}


TYPED = sorted(
    {line.removeprefix("$ scsc-lab ") for line in README.splitlines() if line.startswith("$ scsc-lab ")}
    | {" ".join(words.split()) for words in re.findall(r"`scsc-lab ([^`]+)`", README)}
)


@pytest.mark.parametrize("line", TYPED)
def test_commands_of_the_readme_are_understood_as_they_stand(line):
    """What is measured is measured elsewhere; a command, an option or a value that is not there would be found here."""
    name, *words = [word for word in shlex.split(line) if word not in ("…", "...")]
    command = typer.main.get_command(app).commands[name]
    with command.make_context(name, list(words)) as context:
        assert context.args == []


def test_the_python_of_the_readme_runs_on_small_networks(monkeypatch):
    pytest.importorskip("timm")
    from torch import nn

    import scsc_lab

    (block,) = (text for text in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "scsc_lab.count(" in text)
    block = block.replace("swin_tiny", "swin_pico").replace("convnext_tiny", "convnext_atto")
    timed, deployed = scsc_lab.latency, scsc_lab.deploy
    short = {"pairs": 2, "min_seconds": 0.0, "max_seconds": 0.1, "resolution": 32}
    monkeypatch.setattr(scsc_lab, "latency", lambda *names, pairs: timed(*names, **short))
    monkeypatch.setattr(scsc_lab, "deploy", lambda model: deployed(model, (1, 3, 32, 32)))

    class Mine(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(nn.Conv2d(3, 16, 7, 4, 3), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1))
            self.head = nn.Linear(16, 3)

        def forward(self, x):
            return self.head(self.features(x).mean((2, 3)))

    found = {"my_module": Mine()}
    for line in block.splitlines():
        expression, _, promised = line.partition("#")
        if re.fullmatch(r"\s*\d+\s*", promised):  # a number behind the line is what it gives
            assert eval(expression, found) == int(promised)
        else:
            exec(line, found)
    assert {"model", "field", "layer", "fast", "changes"} <= found.keys()


def test_what_was_measured_is_shown_if_a_figure_cannot_be_written(tmp_path, monkeypatch, capsys):
    from scsc_lab import files

    def full(path, content):
        raise InputError(f"cannot write {path}: No space left on device")

    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    monkeypatch.setattr(files, "write", full)
    for command, file in (
        ("erf net.py:tiny --resolution 16 --samples 2 --layer 0", "erf_net.py_tiny.png"),
        (f"latency net.py:tiny --resolution 16 {QUICK} --plot times.png", "times.png"),
        ("compare net.py:tiny net.py:tiny[width=8] --resolution 16 --with params,macs --plot params,macs", "compare"),
    ):
        assert main(shlex.split(command)) == 2
        captured = capsys.readouterr()
        assert "net.py:tiny" in captured.out
        assert f"scsc-lab: cannot write {file}" in captured.err
