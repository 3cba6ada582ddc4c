"""``scsc-lab export``: a network as a file that another runtime runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from scsc_lab import units
from scsc_lab.cli import running
from scsc_lab.cli.networks import Networks
from scsc_lab.cli.parameters import Only, Reworded, Without, command, option, output_file
from scsc_lab.errors import InputError
from scsc_lab.experiments.compare import comparison
from scsc_lab.experiments.experiment import Measure
from scsc_lab.metrics.export import Export, require_writable
from scsc_lab.metrics.size import assumed
from scsc_lab.records import Row
from scsc_lab.report import tables
from scsc_lab.report.tables import Column, Table
from scsc_lab.settings import Execution, Output


@command(first="--output --resolution --weights --deploy --dynamic-batch")
def export(
    networks: Annotated[
        Networks,
        Without("model", "label"),
        Reworded(
            transplant="Replace the spatial operators by SCSC.",
            mixer="Replace the spatial operators by this mixer: a name or FILE.py:CLASS.",
            deploy="Export the deploy form, fused for inference.",
        ),
    ],
    execution: Annotated[Execution, Only("seed")],
    output: Annotated[Output, Without("output")],
    file: Annotated[
        Path | None, output_file("File to write: .onnx (extra onnx), or .pt2 for torch.export.", "-o/--output")
    ] = None,
    dynamic_batch: Annotated[
        bool, option("Leave the number of images open. Default: one image.", "--dynamic-batch", panel="Output")
    ] = False,
    opset: Annotated[
        int | None,
        option(
            "Version of ONNX's operators. Default: torch's.",
            "--opset",
            low=1,
            high=1000,
            metavar="N",
            panel="Output",
        ),
    ] = None,
) -> int:
    """Write a network to an ONNX file or a torch.export program, run there and compared with torch.

    The file is written whole or not at all, and only if its outputs on random images agree with torch's to 1e-5.
    """
    if file is None:
        raise InputError("-o names the file, e.g. -o model.onnx")
    replacements = networks.transplants()
    if len(networks.names) != 1 or len(replacements) > 1:
        raise InputError("one file holds one network: name one model, and one mixer at most")
    store = running.opened(output)
    require_writable(file, opset)
    built = replace(networks, transplant=False, mixer=(), rule=(), deploy=False).build()
    network = built.networks[0].with_transplant(replacements[0]) if replacements else built.networks[0]
    network = network.deployed() if networks.deploy else network
    settings = Export(str(file), dynamic_batch, opset, execution.seed)
    measured = running.measure([comparison([network], [], [Measure("export", settings)])], store)
    (row,) = measured.results[0].further
    notes = [*_notes(row, file), *(assumed([network]) if row["resolution_assumed"] else [])]
    return running.show(Table(_COLUMNS, (row,), notes=tuple(notes)), output, seed=execution.seed)


_COLUMNS = (
    tables.MODEL,
    tables.INPUT,
    Column("batch", "batch", lambda number: "open" if number is None else units.integer(number)),
    Column("file", "file", number=False),
    Column("bytes", "size", units.mega, unit="MB"),
    Column("opset", "opset", lambda number: "" if number is None else units.integer(number)),
    Column("difference", "difference", lambda value: f"{value:.1e}"),
)


def _notes(row: Row, path: Path) -> list[str]:
    runtime = "ONNX Runtime" if path.suffix == ".onnx" else "torch.export"
    notes = [
        f"Difference: the largest of {runtime}'s outputs to torch's on random images, over the largest output; "
        "up to 1e-05 is rounding in float32."
    ]
    if row["float32_rounding"] is not None:
        notes.append(
            f"Beyond that, but torch's own float32 is {row['float32_rounding']:.1e} from its float64: this is rounding."
        )
    if not row["outputs_depend_on_input"]:
        notes.append("The network gives the same output for different images, so that the comparison says little.")
    return notes
