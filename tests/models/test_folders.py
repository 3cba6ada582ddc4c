"""Networks of the user's folders: each finds its own neighbours, says what it takes, and is refused in one line."""

from __future__ import annotations

import copy
import json
import sys
import threading

import pytest
import torch

import scsc_lab
from scsc_lab import InputError
from scsc_lab.cli import main
from scsc_lab.models import external, operators
from scsc_lab.networks import values

NET = """
import dataclasses
import blocks
from torch import nn

@dataclasses.dataclass
class Settings:
    width: "int" = 8

def now(width: int = 8, depth=1, ratio=4.0, kernels=(3,), norm="batch", relu=True, rate: float = 0.0):
    assert blocks.WIDTH == {width}
    return nn.Conv2d(3, blocks.WIDTH, 3)

def late():
    import blocks as again
    import late_blocks
    return nn.Conv2d(3, again.WIDTH * late_blocks.TIMES, 3)

class Forward(nn.Conv2d):
    def __init__(self):
        super().__init__(3, 1, 3)

    def forward(self, x):
        import blocks
        import later_blocks
        return super().forward(x).repeat(1, blocks.WIDTH * later_blocks.TIMES, 1, 1)
"""

ODD = """
import threading
import torch
from torch import nn

def itself():
    model = nn.Sequential(nn.Conv2d(3, 3, 3))
    model[0].inner = nn.Sequential(model)
    return model

@torch.inference_mode()
def inference():
    return nn.Conv2d(3, 3, 3)

def leaves():
    raise SystemExit(0)

def deep():
    model = nn.Conv2d(3, 3, 1)
    for _ in range(5000):
        model = nn.Sequential(model)
    return model

class Says(nn.Conv2d):
    input_size = (48, 64)

    def __init__(self, width=3):
        super().__init__(3, width, 3)

class SaysLate(Says):
    input_size = None

    def __init__(self, side: int = 40):
        super().__init__()
        self.default_cfg = {"input_size": (3, side, side), "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}

def says():
    return nn.Conv2d(3, 3, 3)

says.input_size = 96

def nothing():
    return nn.Conv2d(3, 3, 3)
"""


@pytest.fixture
def two(tmp_path, monkeypatch):
    for name, width in (("one", 4), ("two", 16)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "net.py").write_text(NET.replace("{width}", str(width)))
        (folder / "blocks.py").write_text(f"WIDTH = {width}\n")
        for late in ("late_blocks", "later_blocks"):
            (folder / f"{late}.py").write_text(f"TIMES = {width // 2}\n")
    (tmp_path / "odd.py").write_text(ODD)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("factory", "widths"), [("now", (4, 16)), ("late", (8, 128)), ("Forward", (8, 128))])
def test_neighbours_of_one_name_stay_apart(two, factory, widths):
    found = [external.find(f"{name}/net.py:{factory}") for name in ("one", "two")]
    models = [one.make({}) for one in found]
    for _ in range(2):
        for model, width in zip(models, widths, strict=True):
            assert model(torch.ones(1, 3, 8, 8)).shape[1] == width


def test_what_an_editor_changes_beside_a_file_is_seen_at_once(two):
    """A sibling is written over, replaced, or is part of a package; nothing is measured of what it was."""
    (two / "one" / "pack").mkdir()
    (two / "one" / "pack" / "__init__.py").write_text("from pack.part import KERNEL\n")
    (two / "one" / "pack" / "part.py").write_text("KERNEL = 1\n")
    (two / "one" / "own.py").write_text(
        "from torch import nn\nfrom blocks import WIDTH\nfrom pack import KERNEL\n\n\ndef make():\n"
        "    import late_blocks\n    return nn.Conv2d(3, WIDTH * late_blocks.TIMES, KERNEL, bias=False)\n"
    )

    def params() -> int:
        for _ in range(2):
            found = scsc_lab.count("one/own.py:make", 8).params
        return found

    assert params() == 3 * 4 * 2
    (two / "one" / "blocks.py").write_text("WIDTH = 8\n")  # in the same second, of the same size
    assert params() == 3 * 8 * 2
    assert scsc_lab.count("two/net.py:now", 8).params > 0  # another folder's come between
    (two / "one" / "late_blocks.py").write_text("TIMES = 5\n")
    assert params() == 3 * 8 * 5
    (two / "one" / "part.tmp").write_text("KERNEL = 3\n")
    (two / "one" / "part.tmp").replace(two / "one" / "pack" / "part.py")
    assert params() == 3 * 8 * 5 * 9


def test_installed_and_standard_modules_stay(two):
    (two / "one" / "random.py").write_text("")
    before = {name: sys.modules[name] for name in ("random", "torch", "scsc_lab.errors")}
    for name in ("one", "two", "one"):
        external.find(f"{name}/net.py:now").make({})
    assert before == {name: sys.modules[name] for name in before}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("odd.py:itself", "odd.py:itself cannot be built: RuntimeError: its module '0.inner.0' contains itself"),
        ("odd.py:inference", "cannot be built: RuntimeError: its weights were made in torch.inference_mode(): build"),
        ("odd.py:leaves", "odd.py:leaves cannot be built: SystemExit: 0 (odd.py, line 16)"),
        ("odd.py:deep", "odd.py:deep cannot be built: RecursionError: maximum recursion depth exceeded"),
        ("odd.py:says[width=3]", "odd.py:says has no argument 'width' (it takes none)"),
        ("one/net.py:now[widht=16]", "has no argument 'widht'; did you mean width? (its arguments are width, depth,"),
        ("one/net.py:now[width=abc]", "width=abc: a whole number is due (default: 8)"),
        ("one/net.py:now[width=0.5]", "width=0.5: a whole number is due (default: 8)"),
        ("one/net.py:now[depth=abc]", "depth=abc: a whole number is due (default: 1)"),
        ("one/net.py:now[ratio=big]", "ratio=big: a number is due (default: 4.0)"),
        ("one/net.py:now[kernels=big]", "kernels=big: values with commas between is due (default: (3,))"),
        ("one/net.py:now[relu=maybe]", "relu=maybe: true or false is due (default: True)"),
    ],
)
def test_mistakes_are_one_line(two, capsys, name, message):
    assert main(["flops", name, "--no-check"]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert message in captured.err


@pytest.mark.parametrize(
    ("annotation", "default", "text", "value"),
    [
        (None, (3, 5), "3", (3,)),
        (None, (3, 5), "3,7", (3, 7)),
        (None, [3], "3,7", [3, 7]),
        (None, 4.0, "2", 2),
        (None, 0, "0.1", 0.1),
        (None, 8, "(1, 2)", (1, 2)),
        (None, "batch", "1", "1"),
        (None, True, "off", False),
        (None, True, "0", False),
        (None, None, "abc", "abc"),
        (None, None, "0.5", 0.5),
        (None, None, "true", True),
        (None, None, "None", None),
        (None, None, "(1, 2)", (1, 2)),
        (float, None, "2", 2.0),
        (str, None, "1", "1"),
        (tuple[int, ...], None, "3", (3,)),
        (int | None, None, "none", None),
        (int | None, 3, "4", 4),
        (bool, None, "yes", True),
        ("unknown", None, "yes", "yes"),
    ],
)
def test_values_are_what_annotation_and_default_want(annotation, default, text, value):
    found = values.argument("key", text, annotation, default)
    assert found == value
    assert type(found) is type(value)


def test_words_are_no_numbers():
    for annotation in (int, float, int | None, bool):
        with pytest.raises(InputError, match=r"key=abc: .* is due"):
            values.argument("key", "abc", annotation)


@pytest.mark.parametrize(
    ("name", "resolution"),
    [
        ("odd.py:Says", (48, 64)),
        ("odd.py:says", (96, 96)),
        ("odd.py:SaysLate", (40, 40)),
        ("odd.py:nothing", None),
        ("torchvision:inception_v3", (299, 299)),
    ],
)
def test_a_network_may_say_its_input_size(two, name, resolution):
    if name.startswith("torchvision"):
        pytest.importorskip("torchvision.models")
    found = external.find(name).declared({})
    assert found.resolution == resolution
    if name == "odd.py:SaysLate":
        assert (found.channels, found.mean) == (3, (0.5, 0.5, 0.5))


def test_arguments_go_where_they_fit_among_timm_and_the_catalog(two, capsys):
    pytest.importorskip("timm")
    names = ["scsc_faceresnet", "timm:resnet18", "odd.py:Says"]
    given = ["--set", "kernels=3,5", "--set", "width=5", "--set", "num_classes=7"]
    assert main(["flops", *names, *given, "--no-check", "--resolution", "64", "--format", "json"]) == 0
    labels = [row["model"] for row in json.loads(capsys.readouterr().out)["rows"]]
    assert labels == ["scsc_faceresnet[kernels=3,5]", "timm:resnet18[num_classes=7]", "odd.py:Says[width=5]"]


@pytest.mark.parametrize("what", ["itself", "a lock"])
def test_modules_in_hand_that_cannot_be_copied_are_one_line(what):
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 3))
    model[0].inner = model if what == "itself" else None
    model.lock = threading.Lock() if what == "a lock" else None
    short = {"pairs": 1, "min_seconds": 0, "max_seconds": 0.01}
    for attempt in (
        lambda: scsc_lab.count(model, input_shape=(1, 3, 8, 8)),
        lambda: scsc_lab.latency(model, resolution=8, **short),
        lambda: scsc_lab.erf(model, 8, layer="0"),
        lambda: scsc_lab.transplant(model, input_shape=(1, 3, 8, 8)),
        lambda: scsc_lab.deploy(model),
    ):
        with pytest.raises(InputError, match=r"contains itself|cannot be copied") as caught:
            attempt()
        assert "\n" not in str(caught.value)


PARTS = """
from __future__ import annotations

import dataclasses
import importlib

import torch
from torch import nn

import pack.deep.leaf
from pack import deep
from pack.deep.leaf import Leaf

@dataclasses.dataclass
class Settings:
    width: int = 8

class Net(nn.Module):
    def __init__(self, settings: Settings = Settings()):
        super().__init__()
        assert pack.deep.leaf.Leaf is Leaf is deep.leaf.Leaf
        by_name = importlib.import_module("pack.deep.leaf").Leaf
        self.leaf = Leaf(settings.width)
        self.other = by_name(settings.width)

    def forward(self, x):
        from pack.deep.leaf import twice
        return twice(self.leaf(x))

class Missing(nn.Module):
    def __init__(self):
        super().__init__()
        import pack.missing
"""


@pytest.fixture
def parts(tmp_path, monkeypatch):
    (tmp_path / "pack" / "deep").mkdir(parents=True)
    (tmp_path / "pack" / "deep" / "leaf.py").write_text(
        "from torch import nn\nfrom .. import base\nclass Leaf(base.Base): pass\ndef twice(x): return 2 * x\n"
    )
    (tmp_path / "pack" / "base.py").write_text(
        "from torch import nn\nclass Base(nn.Conv2d):\n    def __init__(self, width): super().__init__(3, width, 3)\n"
    )
    (tmp_path / "my-net.v2.py").write_text(PARTS)
    (tmp_path / "parts.py").write_text(PARTS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.filterwarnings("ignore:.*Dynamo does not know")  # a compiled pass breaks where it imports
@pytest.mark.parametrize("name", ["my-net.v2.py:Net", "parts.py:Net", "parts:Net"])
@pytest.mark.skipif(torch.__version__ < (2, 9), reason="torch.compile cannot import so late")
def test_packages_are_imported_in_every_way(parts, name):
    names = set(sys.modules)
    model = external.find(name).make({})
    x = torch.ones(1, 3, 8, 8)
    with torch.no_grad():
        expected = model(x)
        torch.testing.assert_close(torch.compile(copy.deepcopy(model), backend="eager")(x), expected)
    torch.testing.assert_close(torch.export.export(model, (x,)).module()(x), expected)
    assert not {"pack", "parts", "pack.deep.leaf"} & (set(sys.modules) - names)
    with pytest.raises(InputError, match=r"ModuleNotFoundError: No module named 'pack.missing' \(.*py, line"):
        external.find(name.replace("Net", "Missing")).make({})


def test_patterns_of_classes_know_modules_as_their_folder_does(parts):
    model = external.find("parts.py:Net").make({})
    for pattern in ("Leaf", "pack.deep.leaf.Leaf", "pack.*"):
        assert [operator.name for operator in operators.modules(model, [pattern])] == ["leaf", "other"]
