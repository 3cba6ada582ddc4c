"""The command `report`, on networks of one's own and on rows; and the options of every command that draws."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from scsc_lab.cli import main
from scsc_lab.experiments import publish, report, variants
from scsc_lab.settings import Fields, Settings, Timing

SHORT = Settings(timing=Timing(2, 0.0, 30.0, warm_up_seconds=0.0), fields=Fields(samples=1, seeds=1))
QUICK = report.Effort(SHORT, ("components", "stages"), timed=SHORT)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("scsc_lab.experiments.report.QUICK", QUICK)
    (tmp_path / "net.py").write_text(
        "from torch import nn\n\n\ndef make(width=8):\n"
        "    block = nn.Conv2d(width, width, 7, padding=3, groups=width)\n"
        "    return nn.Sequential(nn.Conv2d(3, width, 4, 4), block, nn.Conv2d(width, width, 2, 2))\n"
    )
    return tmp_path


def size(path: Path) -> tuple[float, float]:
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG")
    return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")


def test_a_report_takes_what_compare_takes(here, monkeypatch):
    words = ["net.py:make", "--transplant", "--mixer", "scsc", "--label", "Ours=net.py:make", "--resolution", "64"]
    words += ["--set", "width=16", "--rule", "kernels=3,5", "--quick", "--threads", "1", "--device", "cpu"]
    assert main(["report", *words, "--with", "params,macs,latency,erf", "--width", "84mm", "--no-titles"]) == 0
    rows = publish.table_rows(here / "reports" / "quick" / "rows.jsonl")
    networks = [row for row in rows if row["table"] == "comparison"]
    assert [row["model"] for row in networks] == ["Ours", "Ours + SCSC[kernels=3,5]"]
    assert {row["baseline"] for row in networks} == {"Ours"}
    assert {tuple(row["resolution"]) for row in networks} == {(64, 64)}
    assert networks[0]["network"] == "net.py:make[width=16]"
    assert "published_top1" not in networks[0]
    assert [row["model"] for row in rows if row["table"] == "field"] == [row["model"] for row in networks]
    ablated = [row for row in rows if row["table"] == "ablation"]
    assert {"components", "stages"} == {row["study"] for row in ablated}
    assert "no shuffle" in {row["variant"] for row in ablated}
    for row in ablated:  # time and field stand beside the costs of components alone
        assert (row.get("median_seconds") is not None) == (row["study"] == "components")
        assert (row.get("r50") is not None) == (row["study"] == "components")
    parts = [row for row in rows if row["table"] == "part" and row["model"] == "Ours"]
    for by in ("stage", "module"):
        own = [row for row in parts if row["by"] == by]
        assert own[-1]["name"] == "total"
        assert own[-1]["macs"] == networks[0]["macs"]
        assert sum(row["macs"] for row in own[:-1]) == own[-1]["macs"]
        assert sum(row["median_seconds"] for row in own[:-1]) == pytest.approx(own[-1]["median_seconds"])
    (field,) = [row for row in rows if row["table"] == "field" and row["model"] == "Ours"]
    assert field["stages"][-1]["r50"] == field["r50"]
    maps = [stage["map_file"] for stage in field["stages"]]
    assert len(set(maps)) == len(maps) > 1
    assert all((here / "reports" / "quick" / name).is_file() for name in maps)
    text = (here / "reports" / "quick" / "README.md").read_text()
    assert "## Where MACs and time go" in text
    assert "Ours by module" in text
    assert "All stages of Ours" in text
    monkeypatch.setattr("scsc_lab.report.figures.style.save", lambda *_, **__: None)
    assert main(["report", "--from", "reports/quick/rows.jsonl", "--name", "copy"]) == 0
    assert all((here / "reports" / "copy" / name).is_file() for name in maps)
    assert "Its modules: kernels 3,5." in text
    assert "Δ r(50%), points" in text
    assert size(here / "reports" / "quick" / "latency.png")[0] == round(84 / 25.4 * 200)


def test_the_studies_of_every_scsc_network_of_the_default_report_are_planned():
    found = report.experiments(replace(QUICK, studies=("components",)))
    ablated = [experiment.arms[0].network for experiment in found if experiment.kind == "ablation"]
    assert [network.name for network in ablated] == list(report.ABLATED)
    assert set(report.ABLATED) == {scsc for _, scsc in report.PAIRS}
    assert all(variants.has_scsc(network) for network in ablated)


def test_every_command_that_draws_takes_the_width_of_its_figure(here):
    net = ["net.py:make", "--resolution", "64"]
    wide = ["--width", "4in", "--no-titles"]
    times = ["--pairs", "2", "--max-time", "1", "--plot", "t.png"]
    assert main(["latency", *net, *times, *wide]) == 0
    assert main(["compare", *net, "--with", "params,macs", "--plot", "params,macs", "--figure", "c.png", *wide]) == 0
    fields = ["--samples", "1", "--seeds", "1", "--save", "f.npz", "-o", "e.png"]
    assert main(["erf", *net, "--transplant", *fields, *wide]) == 0
    assert main(["erf", "--from", "f.npz", "-o", "maps.png", "--panels", "maps", *wide]) == 0
    assert main(["erf", "--from", "f.npz", "-o", "profiles.png", "--panels", "profiles", *wide]) == 0
    assert main(["ablate", *net, "--transplant", "--study", "components", "--figures", "a", *wide]) == 0
    drawn = ["t.png", "c.png", "e.png", "maps.png", "profiles.png", "a/ablation_components.png"]
    assert {size(here / name)[0] for name in drawn} == {4 * 300}
    assert len({size(here / name)[1] for name in ("e.png", "maps.png", "profiles.png")}) == 3
