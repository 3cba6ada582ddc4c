"""``python -m nox`` runs what must pass: style, types and tests."""

import nox

nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True

CONSTRAINTS = ("-c", "constraints.txt")


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
    session.install(
        *CONSTRAINTS,
        ".[timm,safetensors,dask,datasets,html,onnx,openvino]",
        "pytest",
        "pytest-xdist",
        "hypothesis",
        "pytorch-metric-learning",
        "playwright",
        "axe-playwright-python",
    )
    session.run("pytest", "--numprocesses=auto", *session.posargs)
