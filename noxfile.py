"""``python -m nox`` runs what must pass: style, types and tests."""

import os

import nox

nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True

CONSTRAINTS = ("-c", "constraints.txt")
TESTED_WITH = (
    *("pytest", "pytest-xdist", "hypothesis", "pytorch-metric-learning", "playwright", "axe-playwright-python"),
    *("nbclient", "ipykernel"),
)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and format."""
    session.install(*CONSTRAINTS, "ruff")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check types, strictly."""
    session.install(*CONSTRAINTS, ".", "mypy")
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests against the installed package; with timm, so that the parity tests run.

    Those of the page run in Debian's Chromium, or in the one that CHROMIUM names; without one they skip.
    """
    session.install(*CONSTRAINTS, ".[timm,safetensors,dask,datasets,html,onnx,openvino,search]", *TESTED_WITH)
    session.run("pytest", "--numprocesses=auto", *session.posargs)


@nox.session(default=False)
def oldest(session: nox.Session) -> None:
    """Run the tests with the oldest packages that pyproject.toml allows; torch brings gigabytes for CUDA."""
    project = nox.project.load_toml("pyproject.toml")["project"]
    extras = [
        entry for name, entries in project["optional-dependencies"].items() if name != "timm" for entry in entries
    ]
    bounds = [entry.replace(">=", "==") for entry in (*project["dependencies"], *extras)]
    session.install(*bounds, "pyarrow<17", *TESTED_WITH)  # a newer one needs NumPy 2, and does not say so
    session.install("--no-deps", ".")
    session.run("pytest", "--numprocesses=auto", "--override-ini=filterwarnings=default", *session.posargs)


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """Build the site in ``docs/_build``; warnings are errors, links inside are checked, the notebook is executed."""
    session.install(*CONSTRAINTS, ".[html]", "sphinx", "myst-nb", "furo")
    session.run("python", "-m", "sphinx", "-W", "--keep-going", "-b", "html", "docs", "docs/_build", *session.posargs)


@nox.session(default=False)
def package(session: nox.Session) -> None:
    """Build the sdist and the wheel, check them, and run the wheel in an environment that holds nothing else."""
    session.install(*CONSTRAINTS, "build", "twine")
    folder = session.create_tmp()
    session.run("python", "-m", "build", "--outdir", folder, ".")
    files = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
    session.run("twine", "check", "--strict", *files)
    empty = os.path.join(folder, "empty")
    session.run("python", "-m", "venv", empty)
    wheel = next(file for file in files if file.endswith(".whl"))
    session.run(os.path.join(empty, "bin", "pip"), "install", "-q", *CONSTRAINTS, wheel, external=True)
    session.chdir(folder)
    session.run(os.path.join("empty", "bin", "scsc-lab"), "flops", "resnet50", "--no-check", external=True)


@nox.session(default=False)
def benchmarks(session: nox.Session) -> None:
    """Run every benchmark beside its peers, on a machine that does nothing else, and write benchmarks/README.md.

    Counting comes first and without timm: some peers import its torchvision where there is one, at their own cost.
    """
    session.install(*CONSTRAINTS, ".[safetensors,dask,html,onnx,openvino,search]", "-r", "benchmarks/requirements.txt")
    session.run("pip", "uninstall", "-q", "-y", "timm", "torchvision")
    session.run("python", "benchmarks/all.py", "--only", "counting", *session.posargs, env={"PYTHONPATH": "."})
    session.install(*CONSTRAINTS, ".[timm]", "playwright")
    session.run("python", "benchmarks/all.py", "--skip", "counting", *session.posargs, env={"PYTHONPATH": "."})
