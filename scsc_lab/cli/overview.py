"""``scsc-lab --help``: the commands in the order in which one needs them, each a whole sentence and an example."""

from __future__ import annotations

import textwrap
from typing import Any

from typer.core import TyperGroup


class Overview(TyperGroup):
    """The group of all commands."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write each command with the first sentence of its help and its example, none cut off."""
        names = list(self.commands)
        wide = max(map(len, names), default=0)
        with formatter.section("Commands"):
            for name in names:
                sentence = " ".join((self.commands[name].help or "").partition("\n\n")[0].split())
                indent = " " * (formatter.current_indent + wide + 2)
                head = f"{'':{formatter.current_indent}}{name:{wide}}  "
                width = max(formatter.width, len(indent) + 20)
                lines = textwrap.wrap(
                    sentence, width, initial_indent=head, subsequent_indent=indent, break_on_hyphens=False
                )
                formatter.write("\n".join(lines) + "\n")
                if example := getattr(self.commands[name].callback, "example", ""):
                    formatter.write(f"{indent}$ {example}\n")
