"""Numbers as text, tables as files: exact, whole, and not to be broken by a name."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scsc_lab import InputError, metrics, units
from scsc_lab.provenance import run_info
from scsc_lab.records import change, file_name
from scsc_lab.report import comparison, tables
from scsc_lab.report import render as formats
from scsc_lab.report.document import Document, Grid
from scsc_lab.report.render import latex, markdown, print_table, to_csv, to_json
from scsc_lab.report.tables import Column, Table
from scsc_lab.settings import Output, PaperTable
from scsc_lab.units import one_line

RUN = run_info(arguments=["flops", "a b"])
EVIL = "a|b<c>`d`*e*[f](g)\nh_i_j _k_ \\ &"


def table(*names: str) -> Table:
    rows = tuple(
        {"model": name, "resolution": [224, 320], "macs": 4089184256, "none": None, "nested": {"x": 1}}
        for name in names
    )
    return Table((tables.MODEL, tables.INPUT, tables.MACS), rows, "Title", ("A note.",))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (units.mega(25_557_032), "25.56"),
        (units.giga(4_089_184_256), "4.089"),
        (units.giga(318_953_472), "0.3190"),
        (units.giga(1_430_016), "0.001430"),
        (units.giga(0), "0"),
        (units.giga(123_456_000_000), "123.5"),
        (units.giga(1_234_560_000_000), "1235"),
        (units.giga(None), ""),
        (units.mega(9_999_960), "10.000"),
        (units.percent(-0.2243), "−22.4%"),
        (units.percent(0.0004), "+0.04%"),
        (units.percent(0.0), "0.0%"),
        (units.percent(None), ""),
        (units.share(0.0004), "0.04%"),
        (units.share(1.0), "100.0%"),
        (units.integer(4089184256), "4,089,184,256"),
        (units.size([224, 320]), "224×320"),
    ],
)
def test_units(text, expected):
    assert text == expected


@given(st.floats(1e-9, 1e9))
def test_four_significant_digits_are_right(value):
    assert float(units.significant(value)) == pytest.approx(value, rel=5.1e-4)


def test_changes():
    assert change(3, 4) == -0.25
    assert change(3, 0) is None
    assert change(None, 4) is None
    rows = tables.with_changes([{"macs": 4}, {"macs": 3}, {"macs": 4}], [tables.MACS], baseline=2)
    assert [row["macs_change"] for row in rows] == [0.0, -0.25, None]


def test_json_has_schema_run_and_raw_numbers():
    document = json.loads(to_json(table("resnet50"), RUN))
    assert document["schema"] == 1
    assert document["rows"][0]["macs"] == 4089184256
    run = document["run"]
    assert run["command"] == "scsc-lab flops 'a b'"
    assert run["torch"] == run["versions"]["torch"]
    assert {"device", "time", "seed", "machine", "commit"} <= set(run)


def test_csv_has_raw_numbers():
    rows = ({**table("a,b").rows[0], "outliers": [3, 17]},)
    row = next(csv.DictReader(io.StringIO(to_csv(Table((tables.MODEL,), rows), RUN))))
    assert (row["model"], row["macs"], row["resolution"], row["none"]) == ("a,b", "4089184256", "224x320", "")
    assert (row["outliers"], json.loads(row["nested"])) == ("[3, 17]", {"x": 1})


def test_intervals_need_no_escape():
    shown = units.ratio_interval((0.805, 0.803, 0.807))
    assert shown == "0.805 (0.803–0.807)"
    assert markdown.text(shown) == shown
    assert units.with_interval((0.1, -0.2, 0.4), units.ratio) == "0.100 (−0.200 to 0.400)"
    assert units.interval((1.391, 1.412)) == "1.391–1.412"


@pytest.mark.parametrize(
    "plain",
    ["swin_tiny[kernels=3,9,13]", "r(50%), 95%", "a < b", "R&D", "5 * 3", "≥ 224×224", "scsc_resnet50", "1.5 x"],
)
def test_what_needs_no_escape_is_left_alone(plain):
    assert markdown.text(plain) == plain


HOSTILE = [
    "<script>alert(1)</script>",
    "a\n\n# heading\n\nb",
    "a|b||c",
    "`code` and ` one",
    "[x](javascript:alert(1)) ![x](y.png)",
    "\\input{/etc/passwd}\n\\input{/etc/passwd}",
    "50 % of $x_1^2$ & {c} ~ #3",
    "σ ≥ 0.5 – … “é” ő 日本 😀 \U0001d54f",
    "\x1b[31mred\x1b]0;title\x07 \x9b2J \x00 \x85 \u2028 \u202e",
    "=1+1",
    "+cmd|' /C calc'!A0",
    "-- --- ?` [opt] *star",
    "@SUM(A1)",
    "&lt;b&gt; &amp;",
    "* a",
    "1. a",
    "- [ ] task",
    "~~gone~~ *soft* __loud__",
    "\ud800 half",
    "",
    " ",
]


def hostile(text: str) -> Table:
    """Return a table in which every text, of columns, cells, title and notes, is this one."""
    columns = (Column("model", text, number=False), Column("other", f"Δ {text}"), Column("third", f"Δ {text}"))
    row = {"model": text, "other": text, "third": 1.0, text: text, "listed": [text], "nested": {text: [text]}}
    detail = Table(columns, (row,), text, (text,))
    return Table(columns, (row, row), text, (text, f"As by `scsc-lab`: {text}."), (detail,))


@pytest.mark.parametrize("name", formats.FORMATS)
def test_hostile_text_reaches_no_terminal_and_no_file_raw(name):
    assert formats.FORMATS[name](Table((tables.MODEL, Column("x", "x")), ()), RUN)  # a table without rows
    for text in HOSTILE:
        written = formats.FORMATS[name](hostile(text), RUN)
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e]", written), text
        assert written.encode()
        if name == "json":
            assert json.loads(written)["rows"][0]["model"] == text
        if name == "latex":
            assert not re.search(r"(?<!\\)\\input|\\write", written.replace(r"\textbackslash{}", ""))
            assert written.isascii()


def markdown_pages(text: str) -> list[list[str]]:
    """Return what a reader of Markdown sees, as pairs of the kind of each piece and its text."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    tokens = parser.parse(text)
    return [[child.type, child.content] for token in tokens for child in token.children or ()]


@given(
    st.one_of(
        st.sampled_from(HOSTILE), st.text("<>&;|`*_[]()!#-+=~$\\ 1.ab:\n\t\x85é", max_size=25), st.text(max_size=25)
    )
)
def test_a_reader_of_markdown_sees_the_text_itself(text):
    shown = one_line(text)
    expected = [["text", shown]] if shown else []
    assert joined(markdown_pages(markdown.text(text))) == expected
    cells = joined(markdown_pages(markdown.render(Table((Column("a", "h"),), ({"a": text},)), RUN)))
    assert cells == [["text", f"h{shown}"]]


def joined(pieces: list[list[str]]) -> list[list[str]]:
    if all(kind in ("text", "text_special") for kind, _ in pieces):
        whole = "".join(content for _, content in pieces)
        return [["text", whole]] if whole else []
    return pieces


@given(st.text("`ab|\\<&* \n", max_size=20), st.text(max_size=20))
def test_code_in_notes_is_code_and_the_rest_is_text(one, other):
    pieces = markdown_pages(markdown.prose(f"As by `scsc-lab flops`: {one} {other}"))
    assert pieces[1] == ["code_inline", "scsc-lab flops"]
    assert {kind for kind, _ in pieces} <= {"text", "text_special", "code_inline"}


@given(st.text("a[]()!\\<", max_size=20))
def test_a_picture_is_one_whatever_its_text(text):
    from markdown_it import MarkdownIt

    (_, inline, _) = MarkdownIt("commonmark").parse(f"x {markdown.picture('a.png', text)}")
    assert [child.type for child in inline.children] == ["text", "image"]
    assert "".join(child.content for child in inline.children[1].children or ()) == one_line(text)


def test_latex_has_caption_label_and_headings_that_differ():
    columns = (tables.MODEL, *tables.changed(tables.PARAMS), *tables.changed(tables.MACS))
    rows = ({"model": "a_b & c", "params": 25_000_000, "params_change": -0.5, "macs": 4089184256, "macs_change": 0.25},)
    text = latex.render(Table(columns, rows, "Counted: 50 %", ("As by `scsc-lab flops`.",)), RUN)
    for part in (
        r"\caption{Counted: 50 \%.}",
        r"\label{tab:counted-50}",
        r"model & params (M) & $\Delta$ params & MACs (G) & $\Delta$ MACs \\",
        r"a\_b \& c & 25.00 & $-$50.0\% & 4.089 & +25.0\% \\",
        r"\toprule",
    ):
        assert part in text
    assert "4089184256" not in text


def test_latex_takes_a_caption_and_a_label_of_ones_own():
    detail = Table((Column("model", "model", number=False),), ({"model": "a"},), "Changes")
    table = Table(detail.columns, detail.rows, "Ours", ("Counted by `scsc-lab flops` again.",), (detail,))
    text = latex.of(table, "50 % less", "tab:ours")
    assert [line for line in text.splitlines() if line.startswith((r"\caption", r"\label"))] == [
        *(r"\caption{50 \% less.}", r"\label{tab:ours}"),
        *(r"\caption{Changes.}", r"\label{tab:ours-2}"),
    ]
    assert "Counted by" not in text.replace("% Counted by", "")
    with pytest.raises(InputError, match="letters, digits"):
        latex.of(table, label="tab:a}b")


def run_pdflatex(folder: Path, start: str, body: str) -> str:
    """Return the log of a document that inputs the tables; skip the test where there is no pdflatex."""
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex here")
    (folder / "tables.tex").write_text(body)
    (folder / "paper.tex").write_text(rf"{start}\begin{{document}}\input{{tables}}\clearpage\end{{document}}")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "paper.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    assert (folder / "paper.pdf").stat().st_size > 1000
    return (folder / "paper.log").read_text(errors="replace")


def test_every_table_goes_through_pdflatex_as_it_is(tmp_path):
    body = "".join(latex.render(hostile(text), RUN) for text in HOSTILE)
    body += latex.render(table("resnet50", EVIL), RUN) + latex.render(Table((tables.MODEL, tables.MACS), ()), RUN)
    start = r"\documentclass{article}" + latex.PREAMBLE + r"\extrafloats{100}"
    assert "Missing character" not in run_pdflatex(tmp_path, start, body)


COLUMNS = [metrics.columns()[name] for name in ("params", "macs", "latency", "erf")]


def compared() -> list[dict[str, object]]:
    base = {"model": "a", "baseline": "a", "resolution": [224, 224], "params": 2e6, "macs": 4e9, "r50": 0.02}
    base |= {"median_seconds": 0.1}
    change = {"params_change": -0.25, "macs_change": 0.5, "ratio": 1.2, "ratio_low": 1.1, "ratio_high": 1.3}
    change |= {"verdict": "slower", "r50_difference": 0.2, "r50_difference_low": 0.1, "r50_difference_high": 0.3}
    return [base, {**base, **change, "model": "b", "params": 1.5e6, "macs": 6e9, "median_seconds": 0.12, "r50": 0.22}]


def test_one_command_makes_table_one_with_changes_in_its_cells():
    table = comparison.comparison_table(compared(), COLUMNS)
    text = latex.render(table, RUN, caption="Ours. 50 %", label="tab:one", bold_best=True)
    assert text.count(r"\begin{tabular}") == 1
    assert r"\caption{Ours. 50 \%.}" in text
    assert r"\label{tab:one}" in text
    assert r"\multicolumn{3}{c}{time} & \multicolumn{2}{c}{r(50\%)}" in text
    assert r"\cmidrule(lr){4-6} \cmidrule(lr){7-8}" in text
    first, second = (line for line in text.splitlines() if line.startswith(("a &", "b &")))
    assert first.startswith(r"a & 2.000 & \textbf{4.000} & \textbf{100.0} &")
    assert second.startswith(
        r"b & \textbf{1.500} ($-$25.0\%) & 6.000 (+50.0\%) & 120.0 & 1.200 (1.100--1.300) & slower &"
    )


def test_a_ratio_of_other_rounds_stands_beside_the_time_that_it_is_of():
    first, second = compared()
    for seconds, shown in ((0.1, "1.200 (1.100–1.300)"), (0.1312, "1.200 (1.100–1.300) of 131.2 ms")):
        table = comparison.compact_table([first, {**second, "baseline_seconds": seconds}], COLUMNS)
        assert shown in [column.cell(table.rows[1]) for column in table.columns]


def test_tables_fit_a_paper_of_two_columns(tmp_path):
    notes = ("A sentence on how this was measured, as by `scsc-lab flops`. `--resolution` is another.",) * 8
    body = ""
    for number in (2, 4, 6, 9, 14):
        columns = (tables.MODEL, *(Column(f"n{at}", f"number {at}") for at in range(number - 1)))
        row = {"model": "a_network_of_some_length", **{f"n{at}": 1234.5 for at in range(number)}}
        body += latex.of(Table(columns, (row,) * 3, "Title", notes), label=f"tab:of-{number}")
    body += latex.render(comparison.comparison_table(compared(), COLUMNS, notes), RUN, bold_best=True)
    kinds = re.findall(r"\\begin\{(table\*?)\}", body)
    assert (kinds[0], kinds[-1]) == ("table", "table*")
    assert not [line for line in body.splitlines() if "scsc-lab" in line or ("resolution" in line and line[0] != "%")]
    log = run_pdflatex(tmp_path, r"\documentclass[twocolumn]{article}" + latex.PREAMBLE, body)
    assert all(float(points) <= 1 for points in re.findall(r"Overfull \\hbox \(([\d.]+)pt", log))


def test_no_cell_of_a_csv_is_a_formula():
    for text in ("=1+1", "+1", "-1", "@x", "\t=1", "＝1"):
        rows = list(csv.reader(io.StringIO(to_csv(hostile(text), RUN))))
        assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "＝"))]
    negative = to_csv(Table((tables.MODEL,), ({"change": -0.5},)), RUN)
    assert negative == "change\n-0.5\n"


@given(st.text(max_size=300))
def test_every_text_has_a_file_name_of_its_own(text):
    name = file_name(text)
    assert re.fullmatch(r"(?![.-])[A-Za-z0-9_.=,+-]{1,130}", name)
    assert file_name(f"{text}/") != name
    assert file_name("scsc_swin_tiny") == "scsc_swin_tiny"


def test_terminal_table_is_plain_when_piped(capsys):
    formats.emit(table("resnet50"), RUN)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "4.089" in out
    assert "A note." in out


@pytest.mark.parametrize(
    ("suffix", "start"), [(".md", "**Title**"), (".csv", "model"), (".json", "{"), (".tex", "% in the preamble")]
)
def test_the_suffix_chooses_the_format(tmp_path, suffix, start):
    path = tmp_path / "new" / "folder" / f"table{suffix}"
    formats.emit(table("resnet50"), RUN, Output(output=path))
    assert path.read_text().startswith(start)
    assert list(path.parent.iterdir()) == [path]


def test_unknown_formats_are_mistakes(tmp_path):
    with pytest.raises(InputError, match="'xml'"):
        Output("xml")
    with pytest.raises(InputError, match="cannot tell a format"):
        formats.choose(Output(output=tmp_path / "table.docx"))
    with pytest.raises(InputError, match=r"for LaTeX: add --format latex"):
        formats.choose(PaperTable(bold_best=True))


def test_a_table_whose_file_cannot_be_written_is_printed(capsys):
    with pytest.raises(InputError, match=r"^cannot write /dev/full: "):
        formats.emit(table("resnet50"), RUN, Output("csv", Path("/dev/full")))
    assert "resnet50" in capsys.readouterr().out


def batched(values, size):
    return [values[at : at + size] for at in range(0, len(values), size)]


@pytest.mark.parametrize("width", [80, 60, 40])
def test_a_terminal_that_is_too_narrow_has_all_columns_in_blocks_below_each_other(width, monkeypatch):
    columns = (tables.MODEL, *(Column(f"number{index}", f"column {index} (M)") for index in range(8)))
    rows = tuple({"model": f"network_{row}", **{f"number{index}": 12345.678 for index in range(8)}} for row in range(3))
    monkeypatch.setenv("COLUMNS", str(width))
    screen = io.StringIO()
    screen.isatty = lambda: True
    print_table(Table(columns, rows), screen)
    lines = screen.getvalue().splitlines()
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]
    assert max(map(len, plain)) <= width
    heads = [line for line in plain if line.startswith("model")]
    assert plain[0] == heads[0]
    assert sum(line.startswith("network_") for line in plain) == 3 * len(heads) > 3
    assert [re.findall(r"column (\d)", line) for line in heads] == [
        [str(at) for at in block] for block in batched(range(8), len(re.findall("column", heads[0])))
    ]


def test_a_page_has_columns_without_room_in_a_table_below_a_number_with_its_change():
    columns = [*COLUMNS, *(Column(f"n{at}", f"number {at}", units.decimal) for at in range(9))]
    rows = [{**row, **{f"n{at}": 1234.5 for at in range(9)}} for row in compared()]
    grid = Grid(comparison.wide_table(rows, columns), "networks")
    page = markdown.document(Document("t", (grid,), ())).splitlines()
    lines = [line for line in page if line.startswith("|")]
    heads = [line for line in lines if "model" in line]
    assert len(heads) > 1
    assert max(map(len, lines)) <= 130  # tabulate makes headings two wider than they are
    assert all("time ×" not in head or "time (ms)" in head for head in heads)
    assert all(f"number {at}" in " ".join(heads) for at in range(9))
