"""The long description for a package index: the README, whose relative links become absolute or plain text."""

import os
import re
from pathlib import Path

from setuptools import setup

FILES = os.environ.get("SCSC_LAB_FILES", "").rstrip("/")
"""Address of the repository's files at the release; empty: links become plain text, and images are left out."""


def outside(match: re.Match[str]) -> str:
    """Return a relative link or image as it works outside of the repository."""
    mark, text, path = match.groups()
    if FILES:
        return f"{mark}[{text}]({FILES}/{path})"
    return "" if mark else text


readme = (Path(__file__).parent / "README.md").read_text("utf-8")
setup(
    long_description=re.sub(r"(!?)\[([^\]]*)\]\((?!https?:|#)([^)]+)\)", outside, readme),
    long_description_content_type="text/markdown",
)
