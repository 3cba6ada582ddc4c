"""``scsc-lab --help``: the commands in the order in which one needs them, each a whole sentence and an example."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from typer.core import TyperGroup

EXAMPLES: Mapping[str, str] = {
    "models": "scsc-lab models --family swin",
    "flops": "scsc-lab flops resnet50 scsc_resnet50",
    "latency": "scsc-lab latency swin_tiny scsc_swin_tiny",
    "erf": "scsc-lab erf swin_tiny scsc_swin_tiny -o erf.png",
    "compare": "scsc-lab compare swin scsc_swin",
    "ablate": "scsc-lab ablate scsc_swin_tiny --study components",
    "train": "scsc-lab train swin_pico scsc_swin_pico --seeds 10",
    "evaluate": "scsc-lab evaluate swin_pico --weights run.pt --data navon",
    "export": "scsc-lab export scsc_resnet50 --output scsc_resnet50.onnx",
    "paper": "scsc-lab paper",
    "report": "scsc-lab report --name mine --html --open",
}
"""One example a command, in the order in which one needs the commands."""


class Overview(TyperGroup):
    """The group of all commands; one without an example stands at the end."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands in their order."""
        known = [name for name in EXAMPLES if name in self.commands]
        return [*known, *(name for name in self.commands if name not in EXAMPLES)]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write each command with the first sentence of what it does and its example, none cut off."""
        names = self.list_commands(ctx)
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
                if name in EXAMPLES:
                    formatter.write(f"{indent}$ {EXAMPLES[name]}\n")
