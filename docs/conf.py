"""How Sphinx builds the site: ``python -m nox -s docs``."""

import re

import scsc_lab

project = "scsc-lab"
author = "The scsc-lab authors"
copyright = author  # noqa: A001  # Sphinx reads this name
release = scsc_lab.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
html_theme = "furo"
html_title = f"scsc-lab {release}"
exclude_patterns = ["_build", "jupyter_execute"]  # the latter is written by myst-nb
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
autodoc_member_order = "bysource"
autodoc_typehints = "description"
napoleon_numpy_docstring = False


def setup(app):
    """Show links to Markdown files outside of ``docs/`` as plain text: the site does not hold them."""

    def unlink(app, name, source):
        source[0] = re.sub(r"\[([^\]]+)\]\(\.\./[^)]+\.md\)", r"\1", source[0])

    app.connect("source-read", unlink)
