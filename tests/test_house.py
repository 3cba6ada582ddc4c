"""The house rules that imports, files and documents must keep."""

from __future__ import annotations

import ast
import importlib
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import scsc_lab
from scsc_lab.cli import COMMANDS

PACKAGE = Path(scsc_lab.__file__).parent
ROOT = Path(__file__).parents[1]

FLOORS = {
    0: (*("errors", "records", "provenance", "settings", "units"), *("files", "image_files", "store", "rowfile")),
    1: ("networks", "analysis", "report"),
    2: ("layers", "execution"),
    3: ("counting", "receptive_field", "training", "exporting"),
    4: ("models", "runtimes"),  # a transplant counts itself to find the width at which it costs what the original costs
    5: ("timing",),
    6: ("metrics",),
    7: ("experiments",),
    8: ("api", "cli", "__main__", "__init__"),
}
FLOOR = {room: floor for floor, rooms in FLOORS.items() for room in rooms}
WITHOUT_TORCH = (*FLOORS[0], *FLOORS[1])


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Return what a module imports, wherever in it; not what only the type checker reads."""
    tree = ast.parse(path.read_text())
    skipped = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def rooms_imported(path: Path) -> set[str]:
    parts = (name.split(".") for name in imports(path))
    return {part[1] for part in parts if part[0] == "scsc_lab" and len(part) > 1 and part[1] in FLOOR}


def test_imports_go_downwards():
    for path in modules():
        own = room(path)
        assert own in FLOOR, f"{own} has no floor"
        for other in rooms_imported(path) - {own, "__version__"}:
            same_floor_is_fine = FLOOR[own] in (0, 1, 8)
            is_below = FLOOR[other] < FLOOR[own] or (FLOOR[other] == FLOOR[own] and same_floor_is_fine)
            assert is_below, f"{path.relative_to(PACKAGE)} imports {other}"


def test_no_room_imports_in_a_circle():
    below: dict[str, set[str]] = {}
    for path in modules():
        below.setdefault(room(path), set()).update(rooms_imported(path) - {room(path), *FLOORS[8]})
    while free := [name for name, others in below.items() if not others & below.keys()]:
        for name in free:
            del below[name]
    assert not below, f"rooms that import each other: {below}"


def test_files_are_read_at_a_sitting():
    assert not [path for path in modules() if len(path.read_text().splitlines()) > 300]


def test_torch_stays_on_its_floors():
    for path in (path for path in modules() if room(path) in WITHOUT_TORCH):
        assert not {name for name in imports(path) if name.partition(".")[0] in ("torch", "fvcore", "timm")}, path


@pytest.mark.parametrize(
    "code", ["import scsc_lab", "from scsc_lab import InputError, SCSCSpec", "import scsc_lab.cli"]
)
def test_importing_costs_no_torch(code):
    check = f"import sys; {code}; print({{'torch', 'numpy', 'scipy', 'pandas', 'matplotlib'}} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "set()"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["models"],
        ["flops", "resnet5"],
        *([name, "--help"] for name in ("flops", "compare", "erf")),
    ],
)
def test_commands_that_measure_nothing_import_no_torch(arguments):
    slow = "any(name in sys.modules for name in ('torch', 'scipy.stats', 'pandas', 'matplotlib'))"
    code = f"import sys; from scsc_lab.cli import main; main({arguments}); print({slow})"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split()[-1] == "False"


def test_every_public_name_resolves():
    for name in scsc_lab.__all__:
        assert getattr(scsc_lab, name).__doc__
    assert set(scsc_lab.__all__) <= set(dir(scsc_lab))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        scsc_lab.__getattr__("nothing")


def test_every_command_is_in_the_readme():
    readme = (ROOT / "README.md").read_text()
    for name in COMMANDS:
        assert f"scsc-lab {name}" in readme


def test_every_benchmark_is_run_by_the_one_command_or_takes_hours():
    runner = runpy.run_path(str(ROOT / "benchmarks" / "all.py"))
    by_hand = {"all", "readme", "resilience", "timm_sweep"}
    assert {part.name for part in runner["PARTS"]} | by_hand == {
        path.stem for path in (ROOT / "benchmarks").glob("*.py")
    }
    assert set(runner["_sections"](ROOT / "benchmarks" / "README.md")) <= {part.title for part in runner["PARTS"]}
    assert (ROOT / "benchmarks" / "README.md").read_text().startswith(runner["HEAD"])


def test_the_readme_is_read_at_a_sitting():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200


def test_the_readme_shows_the_figures_of_the_reports():
    glance = runpy.run_path(str(ROOT / "benchmarks" / "readme.py"))["glance"]
    assert glance() in (ROOT / "README.md").read_text()


@pytest.mark.parametrize(
    "path",
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md", "reports/full/README.md")),
        *sorted((ROOT / "docs").glob("*.md")),
    ],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_links_and_images_of_documents_resolve(path):
    targets = re.findall(r"\]\(([^)#\s]+)\)", path.read_text())
    for target in targets:
        if not target.startswith("http"):
            assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda path: path.name)
def test_what_benchmarks_import_from_the_package_is_there(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("scsc_lab"):
            module = importlib.import_module(node.module)
            for name in node.names:
                assert hasattr(module, name.name) or importlib.import_module(f"{node.module}.{name.name}")


def test_the_benchmark_of_counting_counts_the_same_with_and_without_the_cross_check():
    counting = runpy.run_path(str(ROOT / "benchmarks" / "counting.py"))
    checked, plain = (counting[name]("swin_pico", counting["SHAPE"], False) for name in ("ours_checked", "ours"))
    assert checked == plain > 0


def test_the_oldest_torch_is_named_in_the_readme():
    (oldest,) = re.findall(r'"torch>=([\d.]+)"', (ROOT / "pyproject.toml").read_text())
    assert f"your own torch, {oldest} or newer" in (ROOT / "README.md").read_text()


def test_version_is_one():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == scsc_lab.__version__
    assert f"## {scsc_lab.__version__}" in (ROOT / "CHANGELOG.md").read_text()
    assert f"\nversion: {scsc_lab.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_public_functions_and_modules_have_docstrings():
    for path in modules():
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree), path
        for node in tree.body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{path}: {node.name}"
