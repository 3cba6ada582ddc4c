"""Reports: complete, the same from the same rows, and nothing in a row can break the page."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from scsc_lab.analysis.protocol import Protocol
from scsc_lab.architectures import catalog
from scsc_lab.cli import main
from scsc_lab.errors import InputError
from scsc_lab.experiments import report
from scsc_lab.models.subject import subjects
from scsc_lab.provenance import run_info
from scsc_lab.report import document
from scsc_lab.settings import Budget, Plan
from scsc_lab.store import RowStore, as_lines, write

TINY = report.Effort(
    Plan(budget=Budget(8, 0.0, 60.0), resolution=(64, 64), warm_up_seconds=0.1),
    Protocol(samples=2, resolution=(64, 64)),
    ("components",),
)
SCSC = "scsc_swin_tiny[depths=1,1,1,1]"


def groups():
    return [subjects(["swin_tiny[depths=1,1,1,1]", SCSC])]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports") / "tiny"
    rows = report.measure(run_info(arguments=["report"]), TINY, RowStore(folder / "part.jsonl"), folder, groups())
    claim = {"claim": "Face: FLOPs", "baseline": "faceresnet", "network": "scsc_faceresnet", "quantity": "macs"}
    claim |= {"published": -0.68, "measured": -0.681, "difference": -0.001, "verdict": "reproduced", "nearest": None}
    claim |= {"nearest_change": None, "published_text": "", "inferred": catalog.find("scsc_faceresnet").inferred}
    rows.insert(1, {"table": "claim", **claim})
    write(folder / document.ROWS, as_lines(rows))
    document.write(folder, document.read(folder / document.ROWS), "tiny")
    return folder


def test_it_has_every_part_and_its_images_and_links_resolve(folder):
    text = (folder / "README.md").read_text()
    for heading in (
        "What the paper claims",
        "Networks, side by side",
        "Latency and its noise floor",
        "Effective receptive fields",
        "What each part of SCSC costs",
        "How the numbers were obtained",
        "What is inferred",
        "What was not measured",
    ):
        assert f"## {heading}" in text
    targets = re.findall(r"\]\(([^)]+)\)", text)
    assert len(targets) >= 4
    for target in targets:
        assert (folder / target).is_file()
    for told in ("Seed 0", "torch 2.", "random weights", "synthetic 1/f images", "timed against itself", "cores"):
        assert told in text


def test_the_same_rows_give_the_same_bytes_without_torch(folder, tmp_path):
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    code = (
        "import sys; from scsc_lab.cli import main; "
        f"code = main(['report', '--from', {str(folder / document.ROWS)!r}]); print(code, 'torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "0 False"
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_main_numbers_stand_in_the_text(folder):
    rows = document.read(folder / document.ROWS)
    text = (folder / "README.md").read_text()
    networks = [row for row in rows if row["table"] == "comparison"]
    assert len(networks) == 2
    for row in networks:
        assert f"{row['params'] / 1e6:.4g}" in text
    assert f"{networks[1]['ratio']:.3f}" in text


@pytest.mark.parametrize("name", ["a|b", "a<b>c", "a`b`c", "a\nb", "![x](y)", "*a*_b_", "# a", "a | b\n\n## c"])
def test_no_model_name_breaks_the_page(folder, name, tmp_path):
    rows = document.read(folder / document.ROWS)
    original = next(row["model"] for row in rows if row["table"] == "comparison")
    renamed = [json.loads(json.dumps(row).replace(json.dumps(original)[1:-1], json.dumps(name)[1:-1])) for row in rows]
    for row in renamed:
        if "map_file" in row:
            row["map_file"] = str(folder / next(r["map_file"] for r in rows if r["table"] == "field"))
    document.write(tmp_path, renamed, name)
    text = (tmp_path / "README.md").read_text()
    plain = (folder / "README.md").read_text()
    lines, expected = text.splitlines(), plain.splitlines()
    assert len(lines) == len(expected)
    for line, usual in zip(lines, expected, strict=True):
        pipes = [len(re.findall(r"(?<!\\)\|", one)) for one in (line, usual)]
        assert pipes[0] == pipes[1], line
        assert line.startswith("#") == usual.startswith("#")
        assert not re.search(r"(?<!\\)<", line)
    assert text.count("![") == plain.count("![")


def test_what_was_measured_is_not_measured_again(tmp_path, monkeypatch):
    store = RowStore(tmp_path / "part.jsonl")
    told = []

    def stop(what, done, of):
        told.append(what)
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        report.measure(run_info(arguments=[]), TINY, store, tmp_path, groups(), stop)
    first = list(told)
    told.clear()
    rows = report.measure(
        run_info(arguments=[]), TINY, RowStore(store.path), tmp_path, groups(), lambda what, *_: told.append(what)
    )
    assert told[0] == first[2]
    assert len(first[:2]) + len(told) == len(dict.fromkeys([*first, *told]))
    assert [row["table"] for row in rows][:3] == ["run", "comparison", "comparison"]


def test_reports_on_other_things_measure_again(tmp_path):
    networks = groups()[0]
    key = report._key(TINY, networks)
    assert key == report._key(TINY, groups()[0])
    assert key != report._key(replace(TINY, studies=("groups",)), networks)
    assert key != report._key(TINY, networks, commit="another")
    for content in (b"1", b"2"):
        (tmp_path / "weights.pth").write_bytes(content)
        weighted = report._key(TINY, [replace(one, weights=tmp_path / "weights.pth") for one in networks])
        assert weighted != key
        key = weighted


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "none.jsonl"], "no file 'none.jsonl'"),
        (["--from", "bad.jsonl"], "is not the rows of a report"),
        (["--from", "torn.jsonl"], "torn.jsonl is no store of rows: line 1"),
        (["resnet18", "--from", "bad.jsonl"], "--from takes its networks from the rows"),
        (["--name", "../x"], "--name '../x'"),
        (["--name", ".."], "--name '..'"),
        (["--set", "groups=2"], "--set and --weights go with models"),
        (["--seed", "-1"], "--seed '-1'"),
        (["resnet5"], "unknown model 'resnet5'"),
    ],
)
def test_mistakes_are_one_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("bad.jsonl").write_text('{"a": 1}\n')
    Path("torn.jsonl").write_text('{"table": "ru')
    assert main(["report", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert message in captured.err


def test_rows_that_lack_something_are_refused(folder):
    rows = document.read(folder / document.ROWS)
    with pytest.raises(InputError, match="not those of a report"):
        document.write(folder, [{"table": "run"}, *rows[1:]], "x")
