"""The pages of ``docs/`` say what happens: every example in them is run, and what it prints is compared."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_the_examples_of_a_page_run_and_print_what_it_says(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```pycon\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    text = "\n".join(blocks)
    assert all(block.endswith("\n\n") for block in blocks), "a block of examples ends in an empty line"
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL)
    said: list[str] = []
    runner.run(doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0), out=said.append)
    assert not runner.summarize(verbose=False).failed, "".join(said)
