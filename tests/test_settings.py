"""A setting is declared once, and is found wherever it is due."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import typer

from scsc_lab import settings
from scsc_lab.cli import app
from scsc_lab.cli.parameters import Command, Reworded, Without, command, option
from scsc_lab.errors import InputError
from scsc_lab.provenance import commanded
from scsc_lab.report.method import phrases
from scsc_lab.settings import Execution, Output, texts
from scsc_lab.settings.declaration import Declared, from_arguments, setting, settings_of, with_settings


@dataclass(frozen=True)
class Timed(Declared):
    pairs: int = setting(64, "Number of pairs.", "--pairs", low=1, high=100, metavar="N", phrase="up to {} rounds")
    seconds: float = setting(20.0, "Time limit in seconds.", "--max-time", low=0, phrase="up to {} s")
    delta: float = setting(0.02, "Margin in percent.", "--delta", low=0, high=0.99, percent=True, phrase="±{} %")
    kinds: tuple[str, ...] = setting(("a",), "Kinds.", "--kind", choices=("a", "b"), parse=texts.names, phrase="in {}")
    size: tuple[int, int] | None = setting(None, "Size.", "--size", metavar="H[xW]", parse=texts.size)
    form: str = setting("plain", "Form.", "--form", choices=("plain", "Fancy"), decides=False)
    seed: int = setting(0, "Seed.", "--seed", low=0)


@dataclass(frozen=True)
class Drawn(Declared):
    folder: Path | None = setting(None, "Folder.", "--folder", metavar="FOLDER", decides=False)
    seed: int = setting(5, "Seed.", "--seed", low=0)


@pytest.fixture
def run():
    """Return a function that runs a command with two settings classes and returns what it was called with."""
    application, calls = typer.Typer(rich_markup_mode=None, add_completion=False), []

    @command()
    def do(
        timed: Timed,
        drawn: Annotated[Drawn, Reworded(folder="Where figures go.")],
        number: Annotated[int, option("A number.", "--number", low=1)] = 1,
    ) -> None:
        """Do it."""
        calls.append((timed, drawn, number))

    application.command(cls=Command)(do)

    def runner(*words):
        calls.clear()
        with commanded(words):
            application(list(words), standalone_mode=False)
        return calls[0] if calls else None

    return runner


def test_options_are_of_their_type(run):
    assert run() == (Timed(), Drawn(), 1)
    timed, drawn, number = run(
        *"--pairs 3 --max-time 1e-2 --delta 5 --kind b,a,b --size 32x48 --form FANCY --folder here --number 7".split()
    )
    assert timed == Timed(3, 0.01, 0.05, ("b", "a"), (32, 48), "Fancy")
    assert (drawn, number) == (Drawn(Path("here")), 7)
    assert type(timed.form) is str


def test_a_name_that_two_classes_declare_is_one_option(run):
    timed, drawn, _ = run("--seed", "9")
    assert (timed.seed, drawn.seed) == (9, 9)
    assert (run()[0].seed, run()[1].seed) == (0, 5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--pairs 0", "--pairs"),
        ("--pairs many", "--pairs"),
        ("--max-time -1", "--max-time"),
        ("--delta 100", "--delta"),
        ("--form other", "--form"),
        ("--size 3x", "'3x': write a side"),
        ("--kind ,", "--kind"),
        ("--number 0", "--number"),
    ],
)
def test_mistakes_on_the_command_line_name_the_option(run, words, message):
    with pytest.raises((InputError, typer.BadParameter.__mro__[2])) as raised:
        run(*words.split())
    error = raised.value
    assert message in (str(error) if isinstance(error, InputError) else error.format_message())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Timed(pairs=0), "pairs 0: a whole number from 1 to 100"),
        (lambda: Timed(pairs=True), "pairs True: a whole number"),
        (lambda: Timed(pairs="3"), "pairs '3': a whole number"),
        (lambda: Timed(seconds=float("nan")), "seconds nan: a number from 0 up"),
        (lambda: Timed(seconds=float("inf")), "seconds inf: a number from 0 up"),
        (lambda: Timed(kinds=("a", "c")), "kinds 'c': one of a, b"),
        (lambda: Timed(form="fancy"), "form 'fancy': one of plain, Fancy; did you mean Fancy?"),
        (lambda: Timed(size=(1, 2.5)), "size 2.5: a whole number"),
        (lambda: from_arguments((Timed, Drawn), {"pair": 3}), "unknown argument 'pair'; did you mean pairs?"),
    ],
)
def test_mistakes_in_python_name_the_argument(make, message):
    with pytest.raises(InputError) as raised:
        make()
    assert message in str(raised.value)
    assert "--" not in str(raised.value)


def test_values_are_brought_into_their_type():
    timed = Timed(seconds=3, kinds="b", size=[4, 5])
    assert (timed.seconds, type(timed.seconds), timed.kinds, timed.size) == (3.0, float, ("b",), (4, 5))
    assert from_arguments((Timed, Drawn), {"seed": 3, "folder": "here"}) == [Timed(seed=3), Drawn(Path("here"), 3)]


def test_identity_and_phrases_follow_the_declarations():
    assert "form" not in Timed().identity()
    assert Timed().identity()["pairs"] == 64
    stored = dataclasses.asdict(Timed(delta=0.05))
    assert phrases(Timed, stored) == ["up to 64 rounds", "up to 20 s", "±5 %", "in a"]


def test_help_has_types_defaults_bounds_and_panels(run, capsys):
    run("--help")
    text = " ".join(capsys.readouterr().out.split())
    for words in (
        "Measurement: --pairs N Number of pairs. [default: 64; 1 to 100]",
        "--delta",
        "default: 2.0",
        "<plain|",
        "One or more of a, b.",
        "Where figures go.",
        "A number. [default: 1; from 1]",
    ):
        assert words in text


CLASSES = [one for one in vars(settings).values() if dataclasses.is_dataclass(one) and settings_of(one)]


@pytest.mark.parametrize("owner", CLASSES, ids=lambda one: one.__name__)
def test_every_setting_has_an_option_and_help_that_is_a_sentence(owner):
    for one in settings_of(owner):
        assert one.declared.option.startswith("-"), one.name
        assert one.declared.help.endswith("."), one.name
        assert one.declared.help.split()[0] not in ("Of", "Also", "The", "What"), one.name


def test_settings_of_a_command_are_those_it_does_not_leave_out():
    @command()
    def do(execution: Annotated[Execution, Without("device", "dtype")], output: Output) -> None:
        pass

    assert set(do.__signature__.parameters) == {
        *("memory_format", "threads", "streams", "train", "batch", "seed"),
        *("format", "output", "caption", "tex_label", "store", "timeout"),
    }


NAMES = {
    *("pair", "vary", "spaces", "study", "caption", "tex_label"),
    *("models", "model", "weights", "label", "mixer", "baseline", "data", "name"),
    *("stages", "layers", "grid", "executor", "image_column", "label_column", "over"),
}
"""Parameters that are names: of networks, files, layers, data, places."""


def test_no_parameter_of_a_command_is_a_text_where_a_type_exists():
    found = set()
    for registered in typer.main.get_command(app).commands.values():
        for parameter in inspect.signature(registered.callback.__wrapped__).parameters.values():
            if typing.get_origin(parameter.annotation) is Annotated:
                kind, info = typing.get_args(parameter.annotation)
                if info.parser is None and {str, list[str]} & {kind, *typing.get_args(kind)}:
                    found.add(parameter.name)
    assert found == NAMES


@pytest.fixture
def hurry(monkeypatch):
    """Add a setting to the timing of networks, as a contributor would: one field of one class."""
    from scsc_lab.settings import measuring

    added = setting(7, "How much to hurry.", "--hurry", low=1, high=9, metavar="N", phrase="hurrying by {}")
    timing = dataclasses.make_dataclass("Timing", [("hurry", int, added)], bases=(measuring.Timing,), frozen=True)
    timing.__module__ = measuring.__name__
    return timing


def test_a_setting_that_is_added_is_found_wherever_it_is_due(hurry, capsys):
    application = typer.Typer(rich_markup_mode=None, add_completion=False)
    asked = []

    time_with = command()(_annotated(hurry, asked))
    application.command(cls=Command)(time_with)
    application(["--help"], standalone_mode=False)
    assert "--hurry N" in capsys.readouterr().out
    application(["--hurry", "3"], standalone_mode=False)
    assert asked[0].hurry == 3

    @with_settings(hurry)
    def timed(**settings):
        """Time."""
        (made,) = from_arguments((hurry,), settings)
        return made

    assert "hurry: How much to hurry." in timed.__doc__
    assert inspect.signature(timed).parameters["hurry"].default == 7
    assert timed(hurry=2).hurry == 2
    with pytest.raises(InputError, match="hurry 99: a whole number from 1 to 9"):
        timed(hurry=99)
    assert hurry(hurry=2).identity() != hurry().identity()
    assert phrases(hurry, dataclasses.asdict(hurry()))[-1] == "hurrying by 7"


def _annotated(owner, asked):
    """Return a function of one parameter of a settings class."""

    def run(timing) -> None:
        asked.append(timing)

    run.__annotations__ = {"timing": owner}
    return run
