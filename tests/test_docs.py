"""The pages of ``docs/`` say what happens: every example and every command in them is run."""

from __future__ import annotations

import asyncio
import doctest
import re
import shlex
from pathlib import Path

import pytest

from scsc_lab.cli import main
from scsc_lab.experiments import report
from scsc_lab.settings import Fields, Settings, Timing

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_the_examples_of_a_page_run_and_print_what_it_says(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```pycon\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    text = "\n".join(blocks)
    assert all(block.endswith("\n\n") for block in blocks), "a block of examples ends in an empty line"
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL)
    said: list[str] = []
    runner.run(doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0), out=said.append)
    assert not runner.summarize(verbose=False).failed, "".join(said)


SHORTER = {
    "latency": "--pairs 2 --min-time 0 --max-time 0.05",
    "erf": "--samples 1 --seeds 1 --resolution 64",
    "roofline": "--pairs 2 --min-time 0 --max-time 0.05",
}
"""What makes a command quick without making it another."""

SHORTER_BY = {"erf": "--samples 1 --seeds 1", "latency": "--max-time 0.05"}
"""What makes the metrics of a comparison quick."""


def shorter(name, words):
    """Return further words that make a command quick."""
    if "--from" in words or (name == "compare" and "--by" in words):
        return []
    measured = words[words.index("--with") + 1] if "--with" in words else ",".join(SHORTER_BY)
    of_metrics = [text for metric, text in SHORTER_BY.items() if name == "compare" and metric in measured.split(",")]
    return shlex.split(" ".join([SHORTER.get(name, ""), *of_metrics]))


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_the_commands_of_a_page_run_in_order(page, tmp_path, monkeypatch, capsys):
    text = (ROOT / "reports" / "own" / "my_net.py").read_text()
    assert len(text.splitlines()) == 40
    small = text.replace("width: int = 32, depth: int = 4", "width: int = 8, depth: int = 1")
    assert small != text
    home = tmp_path / "own"
    home.mkdir()
    (home / "my_net.py").write_text(small)
    monkeypatch.chdir(home)
    short = Settings(timing=Timing(2, max_seconds=0.05), fields=Fields(samples=1, seeds=1))
    monkeypatch.setattr(report, "FULL", report.Effort(short, ()))
    for line in re.findall(r"^\$ scsc-lab (.+)$", page.read_text(), re.MULTILINE):
        shallow = re.sub(r"(?<![\w:])resnet18\b", "resnet18[depths=1,1,1,1]", line)
        name, *words = shlex.split(shallow)
        code = main([name, *words, *shorter(name, words)])
        said = capsys.readouterr()
        assert code == 0, f"{line}: {said.err}"
        assert said.out
        if "--label" in words:
            assert "Ours" in said.out or name == "report"
    if page.name == "own_network.md":
        written = (home / "README.md").read_text()
        assert "Ours" in written
        assert {path.suffix for path in home.iterdir()} >= {".npz", ".jsonl", ".png", ".pdf"}


def test_the_notebook_runs_and_shows_tables_and_pictures():
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient")
    notebook = nbformat.read(DOCS / "notebook.ipynb", 4)
    asyncio.run(client.NotebookClient(notebook, timeout=300, kernel_name="python3").async_execute())  # closes its loop
    outputs = {
        cell.source: [output.get("data", {}) for output in cell.outputs]
        for cell in notebook.cells
        if cell.cell_type == "code"
    }
    assert "image/png" in outputs["field.plot()"][0]
    assert sum("text/html" in data for shown in outputs.values() for data in shown) >= 5
