"""The user's own results from a CSV file, and every way to get it wrong."""

from __future__ import annotations

import pytest

from scsc_lab import InputError
from scsc_lab.experiments import results

LABELS = ["resnet50", "scsc_resnet50", "swin_tiny[window=4]"]


def write(tmp_path, text):
    path = tmp_path / "my.csv"
    path.write_text(text)
    return path


def test_values_by_metric_by_label(tmp_path):
    path = write(
        tmp_path,
        "model,metric,value,note\nResNet-50, mIoU, 40.5,x\nscsc_resnet,mIoU,42\nresnet50,top-1,76.1\n"
        "swin_tiny[window=4],mIoU,3e1\nswin_base,mIoU,50\ntimm:other,mIoU,1\n",
    )
    found = results.read_own(path, LABELS)
    assert found == {
        "resnet50": {"mIoU": 40.5, "top-1": 76.1},
        "scsc_resnet50": {"mIoU": 42.0},
        "swin_tiny[window=4]": {"mIoU": 30.0},
    }
    assert results.own_metrics(found) == ["mIoU", "top-1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column model, metric, value"),
        ("model,value\n", "no column metric"),
        ("model,metric,value\nresnet5,top-1,1\n", "line 2: unknown model 'resnet5'.*resnet50"),
        ("model,metric,value\nresnet50,top-1,high\n", "line 2: value 'high' is not a number"),
        ("model,metric,value\nresnet50,top-1,nan\n", "is not a number"),
        ("model,metric,value\nresnet50,top-1\n", "value None is not a number"),
        ("model,metric,value\nresnet50,,1\n", "line 2: no metric"),
        ("model,metric,value\n,top-1,1\n", "line 2: no model"),
        (f"model,metric,value,{'a' * 200_000}\n", "my.csv is not a CSV file: field larger"),
        ("model,metric,value\nresnet50,a,1\nresnet,a,2\n", "line 3: resnet50 has a second a"),
    ],
)
def test_bad_files_are_one_line(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        results.read_own(write(tmp_path, text), LABELS)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        results.read_own(tmp_path / "none.csv", LABELS)
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00model")
    with pytest.raises(InputError, match="UTF-8"):
        results.read_own(tmp_path / "bytes.csv", LABELS)
