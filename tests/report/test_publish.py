"""Reports: complete, the same from the same rows, and nothing in a row can break the page."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scsc_lab import metrics
from scsc_lab.cli import main
from scsc_lab.errors import InputError
from scsc_lab.experiments import publish as publishing
from scsc_lab.experiments import report, runner, schema
from scsc_lab.networks import catalog
from scsc_lab.networks.network import Network
from scsc_lab.records import file_name
from scsc_lab.report import compose, sections
from scsc_lab.report.document import Details, Document, Grid, Picture
from scsc_lab.report.render import latex, markdown
from scsc_lab.settings import Fields, Settings, Timing
from scsc_lab.store import Store

QUICK = Timing(8, 0.0, 60.0, warm_up_seconds=0.0)
TINY = report.Effort(Settings(timing=QUICK, fields=Fields(samples=2)), ("components",))


def groups():
    return [[Network.read(f"{name}[depths=1,1,1,1]") for name in ("swin_pico", "scsc_swin_pico")]]


def written(folder: Path, rows: list[dict[str, object]], name: str, source: Path | None = None) -> list[Path]:
    return compose.write(folder, rows, name, metrics.columns(), metrics.notes, source)


def composed(folder: Path, rows: list[dict[str, object]], name: str = "tiny") -> Document:
    return compose.document(rows, name, metrics.columns(), metrics.notes, folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports") / "tiny"
    store = Store()
    runner.run(report.experiments(TINY, groups()), store)
    claim = {"claim": "Face: FLOPs", "baseline": "faceresnet", "network": "scsc_faceresnet", "quantity": "macs"}
    claim |= {"published": -0.68, "measured": -0.681, "difference": -0.001, "verdict": "reproduced", "nearest": None}
    claim |= {"nearest_change": None, "published_text": "", "inferred": catalog.find("scsc_faceresnet").inferred}
    store.keep("claim", {"metric": "claims"}, [{"claims": [claim]}])
    claims = report.claims()
    arm = claims.arms[0].row()
    store.register(claims.row(), [arm], [{"arm": 0, "key": "claim", "position": 0, "part": 0, "metric": "claims"}])
    publishing.write(store, folder, "tiny", publishing.Output())
    return folder


def test_it_has_every_part_and_its_images_and_links_resolve(folder):
    text = (folder / "README.md").read_text()
    for heading in (
        "Findings",
        "What the paper claims",
        "Networks, side by side",
        "Latency and its noise floor",
        "Effective receptive fields",
        "What each part of SCSC costs",
        "How the numbers were obtained",
        "What is inferred",
        "Not measured",
    ):
        assert f"## {heading}" in text
    targets = re.findall(r"\]\(([^)]+)\)", text)
    assert len(targets) >= 4
    for target in targets:
        assert (folder / target).is_file()
    for told in ("Seed 0", "torch 2.", "random weights", "synthetic 1/f images", "timed against itself", "cores"):
        assert told in text


def test_the_page_is_written_without_torch(folder, tmp_path):
    pytest.importorskip("plotly", reason="plotly is not installed")
    arguments = [
        "report",
        "--from",
        str(folder / publishing.ROWS),
        "--folder",
        str(tmp_path),
        "--name",
        "page",
        "--html",
    ]
    code = f"import sys; from scsc_lab.cli import main; print(main({arguments}), 'torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split()[-3:] == [str(tmp_path / "page" / "index.html"), "0", "False"]
    text = (tmp_path / "page" / "index.html").read_text()
    assert text.count("data:image/png;base64,") == len(list((tmp_path / "page").glob("*.png")))
    assert len(text) < 6e6


def test_the_same_rows_give_the_same_bytes_without_torch(folder, tmp_path):
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    code = (
        "import sys; from scsc_lab.cli import main; "
        f"code = main(['report', '--from', {str(folder / publishing.ROWS)!r}]); print(code, 'torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "0 False"
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_main_numbers_stand_in_the_text(folder):
    rows = publishing.table_rows(folder / publishing.ROWS)
    text = (folder / "README.md").read_text()
    networks = [row for row in rows if row["table"] == "comparison"]
    assert len(networks) == 2
    for row in networks:
        assert f"{row['params'] / 1e6:.4g}" in text
    assert f"{networks[1]['ratio']:.3f}" in text


@pytest.mark.parametrize("name", ["a|b", "a<b>c", "a`b`c", "a\nb", "![x](y)", "*a*_b_", "# a", "a | b\n\n## c"])
def test_no_model_name_breaks_the_page(folder, name):
    rows = publishing.table_rows(folder / publishing.ROWS)
    original = next(row["model"] for row in rows if row["table"] == "comparison")
    name += "x" * (len(original) - len(" ".join(name.split())))  # as wide, so that tables have the same columns
    renamed = [json.loads(json.dumps(row).replace(json.dumps(original)[1:-1], json.dumps(name)[1:-1])) for row in rows]
    for row, usual in zip(renamed, rows, strict=True):
        row.update({"map_file": usual["map_file"]} if "map_file" in usual else {})
    text = markdown.document(composed(folder, renamed, name))
    plain = (folder / "README.md").read_text()
    lines, expected = text.splitlines(), plain.splitlines()
    assert len(lines) == len(expected)
    for line, usual in zip(lines, expected, strict=True):
        pipes = [len(re.findall(r"(?<!\\)\|", one.replace(r"\\", ""))) for one in (line, usual)]
        assert pipes[0] == pipes[1], line
        assert line.startswith("#") == usual.startswith("#")
        assert not re.search(r"(?<!\\)<(?!/?(details|summary)>)", line)
    assert len(pictures(text)) == len(pictures(plain))


def pictures(text):
    from markdown_it import MarkdownIt

    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    return [child for token in tokens for child in token.children or () if child.type in ("image", "html_inline")]


def elsewhere(rows, change):
    """Return rows with every text of every row, at any depth, changed; what tells tables apart stays."""

    def changed(key, value):
        if isinstance(value, str):
            return value if key in ("table", "map_file", "variant", "quantity", "columns") else change(value)
        if isinstance(value, dict):
            return {name: changed(name, one) for name, one in value.items()}
        return [changed(key, one) for one in value] if isinstance(value, list) else value

    return [changed("", row) for row in rows]


def test_a_page_with_all_fields_hostile_has_no_heading_tag_or_picture_more(folder):
    rows = publishing.table_rows(folder / publishing.ROWS)
    evil = "\n\n# injected\n\n<script>x</script> ![x](y) | \x1b[31m"
    text = markdown.document(composed(folder, elsewhere(rows, lambda text: text + evil), f"name{evil}"))
    usual = (folder / "README.md").read_text()
    headings = [[line for line in page.splitlines() if line.startswith("#")] for page in (text, usual)]
    assert [line for line in headings[0][1:] if line != "## Numbered settings"] == headings[1][1:]
    assert "<script" not in re.sub(r"`[^`]*`", "", text)
    assert "\x1b" not in text
    assert len(pictures(text)) == len(pictures(usual))


@pytest.mark.parametrize("name", ["../outside.npz", "/etc/passwd", "fields/../../outside.npz", "", ".", "a\0b"])
def test_maps_elsewhere_are_refused(folder, name, tmp_path):
    rows = publishing.table_rows(folder / publishing.ROWS)
    rows = [{**row, "map_file": name} if "map_file" in row else row for row in rows]
    with pytest.raises(InputError, match="not in the report's folder"):
        written(tmp_path, rows, "x", folder)


def test_figures_stay_in_the_folder_whatever_the_study_is_called(folder, tmp_path):
    rows = publishing.table_rows(folder / publishing.ROWS)
    target = tmp_path / "a" / "b" / "c"
    rows = [{**row, "study": "x/../../../P"} if "study" in row else row for row in rows]
    found = written(target, rows, "x", folder)
    assert {path.parent for path in found} == {target, target / "tables"}
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(found)


@pytest.mark.parametrize("schema", [2, "1", None, [1]])
def test_rows_of_another_schema_are_refused(folder, schema, tmp_path, capsys):
    lines = (folder / publishing.ROWS).read_text().splitlines()
    first = json.loads(lines[0])
    assert first["schema"] == 1
    (tmp_path / "rows.jsonl").write_text("\n".join([json.dumps({**first, "schema": schema}), *lines[1:], ""]))
    assert main(["report", "--from", str(tmp_path / "rows.jsonl")]) == 2
    assert "holds rows of schema" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_are_none_are_refused(folder, value, tmp_path):
    text = (folder / publishing.ROWS).read_text()
    broken = re.sub(r'"median_seconds": [\d.e-]+', f'"median_seconds": {value}', text, count=1)
    (tmp_path / "rows.jsonl").write_text(broken)
    with pytest.raises(InputError, match=r"rows.jsonl, line \d+ is not a record"):
        publishing.table_rows(tmp_path / "rows.jsonl")


def test_texts_in_place_of_numbers_are_one_line_or_text(folder, tmp_path, monkeypatch):
    rows = publishing.table_rows(folder / publishing.ROWS)
    monkeypatch.setattr(compose.style, "save", lambda *_, **__: None)
    for key in ("median_seconds", "params", "resolution", "samples_seconds", "r50", "settings", "machine"):
        broken = [{**row, key: "<b>"} if key in row else row for row in rows]
        with contextlib.suppress(InputError):
            schema.check(broken, "rows")
            written(tmp_path, broken, "x", folder)


def test_a_report_from_rows_under_another_name_leaves_the_first_alone(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "reports" / "first"
    shutil.copytree(folder, source)
    before = {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}
    rows = str(source / "rows.jsonl")
    assert main(["report", "--from", rows, "--name", "second"]) == 0
    assert {path: path.read_bytes() for path in source.rglob("*") if path.is_file()} == before
    second = tmp_path / "reports" / "second"
    assert (second / "rows.jsonl").read_bytes() == (source / "rows.jsonl").read_bytes()
    assert main(["report", "--from", str(second / "rows.jsonl")]) == 0
    (second / "rows.jsonl").write_text((source / "rows.jsonl").read_text() + "\n")
    assert main(["report", "--from", rows, "--name", "second"]) == 2
    assert "is another report" in capsys.readouterr().err


def test_what_was_measured_is_not_measured_again(tmp_path):
    path = tmp_path / "part.db"

    def stop(what, done, of):
        if done == 3:
            raise KeyboardInterrupt

    assert runner.run(report.experiments(TINY, groups()), Store(path), progress=stop).interrupted
    kept = Store(path).measurements()
    assert 0 < len(kept) < len(runner.ask(report.experiments(TINY, groups()), Store()).tasks)
    assert not runner.run(report.experiments(TINY, groups()), Store(path)).interrupted
    measurements = Store(path).measurements()
    assert {key: measurements[key] for key in kept} == kept
    tables = [row["table"] for row in publishing.table_rows(path)]
    assert tables[:3] == ["run", "comparison", "comparison"]


def test_rows_that_lack_something_are_refused(folder):
    rows = publishing.table_rows(folder / publishing.ROWS)
    with pytest.raises(InputError, match="not those of a report"):
        schema.check([{"table": "run"}, *rows[1:]], "the rows are not those of a report")


def test_many_maps_are_shared_out_over_a_picture_for_each_baseline(folder, monkeypatch):
    rows = publishing.table_rows(folder / publishing.ROWS)

    def pictures():
        blocks = [block for section in composed(folder, rows).sections for block in section.blocks]
        return [block for block in blocks if isinstance(block, Picture) and block.name.startswith("receptive_fields")]

    (one,) = pictures()
    monkeypatch.setattr(sections, "_MAPS_TOGETHER", 1)
    shared = pictures()
    baselines = dict.fromkeys(row["baseline"] for row in rows if row["table"] == "comparison")
    assert [picture.name for picture in shared] == [f"receptive_fields_{file_name(name)}" for name in baselines]
    assert sum(len(picture.behind.fields) for picture in shared) == len(one.behind.fields)


def test_a_report_opens_with_findings_that_rows_alone_decide(folder):
    rows = publishing.table_rows(folder / publishing.ROWS)
    table = composed(folder, rows).sections[0].blocks[0].blocks[0].table
    found = {row["question"]: row for row in table.rows}
    assert found["Face: FLOPs"]["answer"] == "reproduced"
    pair = next(row for row in rows if row["table"] == "comparison" and row["baseline"] != row["model"])
    assert found[f"{pair['model']}: does it cost fewer MACs?"]["answer"] == "yes"
    slower = [{**row, "ratio": 1.8, "ratio_low": 1.7, "ratio_high": 1.9, "verdict": "slower"} for row in rows]
    unclear = [{**row, "ratio": 1.0, "ratio_low": 0.9, "ratio_high": 1.1, "verdict": "same"} for row in rows]
    wide = [{**row, "verdict": "inconclusive"} for row in unclear]
    cases = (
        (slower, "no", "1.800 × (1.700–1.900)"),
        (unclear, "no difference", "1.000 ×"),
        (wide, "inconclusive", "1.000 × (0.900–1.100)"),
    )
    for changed, answer, figure in cases:
        rows_ = [
            one if row["table"] == "comparison" and row["model"] == pair["model"] else row
            for row, one in zip(rows, changed, strict=True)
        ]
        asked = {row["question"]: row for row in composed(folder, rows_).sections[0].blocks[0].blocks[0].table.rows}
        assert asked[f"{pair['model']}: is it faster?"]["answer"] == answer
        assert figure in asked[f"{pair['model']}: is it faster?"]["figure"]


def test_every_table_is_a_file_for_latex_and_every_figure_a_pdf(folder):
    labels = []
    blocks = list(composed(folder, publishing.table_rows(folder / publishing.ROWS)).blocks())
    for block in blocks:
        if isinstance(block, Grid):
            text = (folder / "tables" / f"{block.name}.tex").read_text()
            assert r"\caption{" in text
            labels += re.findall(r"\\label\{(.*)\}", text)
        if isinstance(block, Picture):
            assert (folder / f"{block.name}.pdf").read_bytes().startswith(b"%PDF")
    assert labels[0] == "tab:pairs"
    assert len(set(labels)) == len(labels)  # all of them can stand in one paper
    names = [block.name for block in blocks if isinstance(block, (Grid, Picture))]
    assert len(names) > len(set(names)) / 2


def test_studies_of_other_networks_are_folded_away(folder):
    rows = publishing.table_rows(folder / publishing.ROWS)
    names = ("model", "baseline")
    again = [{**row, **{name: f"other {row[name]}" for name in names}} for row in rows if row["table"] == "ablation"]
    both = composed(folder, [*rows, *again])
    assert len([block for block in both.blocks() if isinstance(block, Details)]) == 2  # the answers, and these
    text = markdown.document(both)
    assert text.count("<details>") == text.count("</details>") == 2


def test_what_no_row_supports_is_not_said(folder):
    rows = publishing.table_rows(folder / publishing.ROWS)
    bare = [row for row in rows if row["table"] in ("run", "comparison")]
    bare = [{key: value for key, value in row.items() if "ratio" not in key and "seconds" not in key} for row in bare]
    titles = [section.title for section in composed(folder, bare).sections]
    assert "Latency and its noise floor" not in titles
    assert "Effective receptive fields" not in titles
    said = " ".join(item for block in composed(folder, bare).blocks() for item in getattr(block, "items", ()))
    assert "Latency: all networks" not in said
    assert "Receptive fields:" not in said
    assert "fvcore's count" not in said


def test_the_whole_document_goes_through_pdflatex(folder, tmp_path):
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex here")
    rows = publishing.table_rows(folder / publishing.ROWS)
    shutil.copytree(folder, tmp_path / "paper")
    (tmp_path / "paper" / "report.tex").write_text(latex.document(composed(folder, rows)))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "report.tex"]
    done = subprocess.run(command, cwd=tmp_path / "paper", capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
