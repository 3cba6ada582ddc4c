"""Rows of several plans, sizes, settings and labels in one report: none is shown as another's, none is lost."""

from __future__ import annotations

import json

import pytest
from made_rows import placed, runs, stored

from scsc_lab import InputError, metrics
from scsc_lab.cli import main
from scsc_lab.experiments import gather, paper
from scsc_lab.provenance import run_info
from scsc_lab.report import compose
from scsc_lab.store import RowStore


def gathered(tmp_path, *rows):
    return gather.rows([stored(tmp_path / "a.jsonl", rows)], [], run_info())[1:]


def timed(key: str, *networks: tuple[str, float, float | None], **more: object):
    """Return rows of networks that were timed side by side: name, milliseconds, ratio."""
    how = {
        "threads": 1,
        "dtype": "float32",
        "device": "cpu",
        "device_name": "a processor",
        "latency_status": "complete",
    }
    return [
        placed(name, "latency", {**how, "median_seconds": ms / 1e3, **ratio(value), **more}, key, at, len(networks))
        for at, (name, ms, value) in enumerate(networks)
    ]


def ratio(value: float | None) -> dict[str, object]:
    ends = (None, None, None) if value is None else (value, value - 0.01, value + 0.01)
    verdict = None if value is None else "faster" if value < 1 else "slower"
    return {**dict(zip(("ratio", "ratio_low", "ratio_high"), ends, strict=True)), "verdict": verdict}


def test_a_trial_of_few_images_does_not_stand_for_the_real_runs(tmp_path):
    few = [*runs("swin_pico", 90, 91, train_images=64), *runs("scsc_swin_pico", 10, 11, train_images=64)]
    found = gathered(tmp_path, *few, *runs("swin_pico", 20, 22), *runs("scsc_swin_pico", 60, 62))
    assert {row["model"]: row.get("accuracy_difference") for row in found} == {
        "swin_pico, navon, pico, 4 epochs, 64 training images": None,
        "scsc_swin_pico, navon, pico, 4 epochs, 64 training images": -80.0,
        "swin_pico, navon, pico, 4 epochs, 4000 training images": None,
        "scsc_swin_pico, navon, pico, 4 epochs, 4000 training images": 40.0,
    }


def test_a_study_of_two_recipes_is_two_studies(tmp_path):
    one, other = "scsc_swin_pico", "scsc_swin_pico[shuffle=false]"
    short = [*runs(one, 60, 62), *runs(other, 50, 52)]
    long = [*runs(one, 80, 82, epochs=9), *runs(other, 81, 83, epochs=9)]
    found = [row for row in gathered(tmp_path, *short, *long) if row["table"] == "ablation"]
    assert [row.get("accuracy_difference") for row in found] == [None, -10.0, None, 1.0]


def test_a_ratio_stands_beside_the_network_that_it_was_measured_beside(tmp_path):
    rows = [*timed("first", ("a", 10, None), ("b", 20, 2.0)), *timed("second", ("b", 22, None), ("c", 11, 0.5))]
    found = {row["model"]: row for row in gathered(tmp_path, *rows)}
    assert {name: (row["baseline"], row.get("ratio")) for name, row in found.items()} == {
        "a": ("a", None),
        "b": ("a", 2.0),  # though it was timed again beside another
        "c": ("a", None),  # half of b's time is not half of a's
    }
    assert found["b"]["median_seconds"] == 0.020  # of the rounds that its ratio is of
    assert found["c"]["verdict"] is None if "verdict" in found["c"] else True


def test_numbers_of_other_settings_are_no_one_line(tmp_path):
    size = {"params": 10, "macs": 5, "activations": 1, "bytes": 1}
    rows = [
        *(placed("a", "size", {**size, "macs": 5 * batch, "batch": batch}, f"s{batch}") for batch in (1, 8)),
        *timed("one", ("a", 10, None), ("b", 20, 2.0), batch=1),
        *timed("eight", ("a", 70, None), ("b", 90, 1.3), batch=8),
    ]
    found = {row["model"]: row for row in gathered(tmp_path, *rows)}
    assert {name: (row["baseline"], row["batch"], row.get("macs"), row["ratio"]) for name, row in found.items()} == {
        "a, batch 1": ("a, batch 1", 1, 5, None),
        "b, batch 1": ("a, batch 1", 1, None, 2.0),
        "a, batch 8": ("a, batch 8", 8, 40, None),
        "b, batch 8": ("a, batch 8", 8, None, 1.3),
    }


def test_one_label_of_two_networks_and_one_network_of_two_sizes_are_told_apart(tmp_path):
    rows = [{**placed(f"{name}.py:Net", "size", {"params": at}, name), "model": "Ours"} for at, name in enumerate("ab")]
    rows += [
        {**placed("swin_pico", "size", {"macs": side}, str(side)), "resolution": [side, side]} for side in (64, 96)
    ]
    assert {row["model"]: row.get("params", row.get("macs")) for row in gathered(tmp_path, *rows)} == {
        "Ours (a.py:Net)": 0,
        "Ours (b.py:Net)": 1,
        "swin_pico at 64×64": 64,
        "swin_pico at 96×96": 96,
    }


def test_a_network_with_changes_is_no_study_of_another_network(tmp_path):
    rows = timed("x", ("swin_pico", 10, None), ("scsc_swin_pico[shuffle=false]", 20, 2.0))
    assert {row["table"] for row in gathered(tmp_path, *rows)} == {"comparison"}


def field(name: str, share: float, key: str, **more: object):
    figures = {f"r{t}{end}": share for t in (20, 30, 50, 95, 99) for end in ("", "_low", "_high")}
    row = {**figures, "stage": "stage4", "weights": "trained", "train_data": "navon", "images": 2, "image_kind": "i"}
    return placed(name, "trained_field", {**row, "seeds_trained": [0, 1], **more}, key)


def test_of_a_field_that_was_measured_twice_the_last_counts_and_other_data_are_another(tmp_path):
    rows = [*runs("swin_pico", 20, 22), field("swin_pico", 0.1, "a"), field("swin_pico", 0.2, "b")]
    rows.append(field("swin_pico", 0.9, "c", train_data="faces"))
    found = gathered(tmp_path, *rows)
    fields = [row for row in found if row["table"] == "field"]
    assert [(row["train_data"], row["r50"]) for row in fields] == [("navon", 0.2), ("faces", 0.9)]
    (network,) = compose._with_fields([row for row in found if row["table"] == "comparison"], fields)
    assert network["r50"] == 0.2  # its runs are of navon


def test_the_probe_is_of_the_most_pairs(tmp_path):
    few = [*runs("swin_pico", 90, train_images=64), *runs("scsc_swin_pico", 10, train_images=64)]
    many = [*runs("swin_pico", 20, 22), *runs("scsc_swin_pico", 60, 62)]
    claim = next(claim for claim in paper.CLAIMS if claim.text == "Swin: better accuracy")
    (found,) = paper.probed([{"claim": claim.text, "measured": None}], gathered(tmp_path, *few, *many))
    assert (found["probe_pairs"], found["probe_difference"]) == (2, 40.0)


def test_holm_is_over_all_rows_of_the_table_where_reports_and_stores_are_put_together(tmp_path):
    six = range(6)
    store = stored(
        tmp_path / "a.jsonl",
        [*runs("swin_pico", *(20 + s for s in six)), *runs("scsc_swin_pico", *(30 + s + s % 2 for s in six))],
    )
    report = [{"table": "run"}, {"table": "comparison", "model": "x", "baseline": "y", "p_value": 0.04, "p_holm": 0.04}]
    found = gather.rows([store], [report], run_info())
    adjusted = {row["model"]: row["p_holm"] for row in found if row.get("p_value")}
    assert adjusted == {"x": pytest.approx(0.0625), "scsc_swin_pico": pytest.approx(0.0625)}  # twice the smaller, 1/32


@pytest.mark.parametrize(
    "change",
    [{"accuracy": "high"}, {"curve": 5}, {"global_accuracy": "x"}, {"seed": True}],
)
def test_a_run_that_is_none_is_one_line(change, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    stored(tmp_path / "a.jsonl", [{**row, **change} for row in runs("swin_pico", 20, 22)])
    assert main(["report", "--from", "a.jsonl"]) == 2
    error = capsys.readouterr().err.strip()
    assert "python -X dev" not in error
    assert "\n" not in error


@pytest.mark.parametrize("name", ["__main__:x[a=1]", ":x[a=1]", "no.such:x[a=1]", "none.py:x[a=1]", "timm:[a=1]"])
def test_a_network_that_is_not_here_is_shown_as_it_is(name, tmp_path):
    bare = name.partition("[")[0]
    rows = [placed(one, "size", {"params": at}, one) for at, one in enumerate((bare, name), start=1)]
    found = gathered(tmp_path, *rows)
    assert name in {row["model"] for row in found}


def test_a_line_that_a_kill_has_torn_does_not_spoil_what_several_stores_become(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stored(tmp_path / "a.jsonl", runs("swin_pico", 20, 22))
    stored(tmp_path / "b.jsonl", runs("scsc_swin_pico", 60, 62))
    with (tmp_path / "a.jsonl").open("a") as file:
        file.write('{"key": "torn", "metric": "trai')
    assert main(["report", "--from", "a.jsonl", "--from", "b.jsonl", "--name", "both"]) == 0
    assert len(RowStore(tmp_path / "reports/both/rows.jsonl").rows) == 4
    assert main(["report", "--from", "reports/both/rows.jsonl"]) == 0


def test_a_report_does_not_overwrite_what_a_store_has_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reports/accuracy").mkdir(parents=True)
    store = stored(tmp_path / "reports/accuracy/rows.jsonl", runs("swin_pico", 20, 22))
    monkeypatch.setattr("scsc_lab.experiments.report.measure", lambda *args, **options: pytest.fail("measured"))
    assert main(["report", "resnet18", "--with", "params", "--name", "accuracy"]) == 2
    assert "rows that a --store has kept" in capsys.readouterr().err
    assert len(RowStore(store.path).rows) == 2


def test_a_report_needs_no_runs_where_the_probe_would_lie(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reports/accuracy").mkdir(parents=True)
    stored(tmp_path / "reports/accuracy/rows.jsonl", [placed("swin_pico", "size", {"params": 1}, "a")])
    assert main(["report", "swin_pico", "--with", "params", "--name", "mine"]) == 0
    assert json.loads((tmp_path / "reports/mine/rows.jsonl").read_text().splitlines()[1])["table"] == "comparison"


def test_only_pico_networks_are_called_a_probe(tmp_path):
    def text(*rows):
        found = gather.rows([stored(tmp_path / "a.jsonl", rows)], [], run_info())
        document = compose.document(found, "a", metrics.columns(), metrics.notes, tmp_path)
        return " ".join(block.text for block in document.blocks() if hasattr(block, "text"))

    assert "a quarter as wide" in text(*runs("swin_pico", 20, 22))
    assert "a quarter as wide" not in text(*runs("resnet50", 20, 22))


def test_rows_of_nothing_known_are_refused(tmp_path):
    with pytest.raises(InputError, match="is one of a measurement"):
        gather.rows([stored(tmp_path / "a.jsonl", [{"key": "a"}])], [], run_info())
