"""The command line: help, hints, exit codes, and that it stays light."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from diadbench.benchmark.planning.resolving.resolve import resolve_method
from diadbench.cli import COMMANDS, main
from diadbench.cli.parser import build
from diadbench.common.errors import UserError

LIGHT = [["--help"], ["grids", "list"], ["methods", "list"], ["datasets", "list"], ["run", "--help"]]
HEAVY = ("torch", "pandas", "numpy", "anomalib", "lightning", "matplotlib", "scipy", "PIL")


def verbs() -> list[tuple[str, object]]:
    import importlib

    found: list[tuple[str, object]] = []
    for name in COMMANDS:
        module = importlib.import_module(f"diadbench.cli.commands.cmd_{name.replace('-', '_')}")
        for verb, function in getattr(module, "VERBS", {"": getattr(module, "command", None)}).items():
            found.append((f"{name} {verb}".strip(), function))
    return found


@pytest.mark.parametrize("words", LIGHT, ids=" ".join)
def test_light_commands_import_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys; from diadbench.cli import main\n"
        f"try:\n assert main({words!r}) == 0\nexcept SystemExit as end:\n assert not end.code\n"
        f"heavy = [name for name in {HEAVY!r} if name in sys.modules]\nassert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_columns_of_the_list_of_datasets_do_not_touch(capsys: pytest.CaptureFixture[str]) -> None:
    from diadbench.datasets.lookup import names

    assert main(["datasets", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == list(names())


@pytest.mark.parametrize(("name", "function"), verbs(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_command_has_help_with_an_example(name: str, function: object) -> None:
    text = build(name, function).format_help()  # type: ignore[arg-type]
    assert "example:\n" in text
    assert f"diadbench {name}" in text.partition("example:\n")[2]


def test_unknown_commands_get_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rnu"]) == 2
    assert "did you mean run" in capsys.readouterr().err
    assert main(["methods", "lits"]) == 2
    assert "did you mean list" in capsys.readouterr().err


def test_unknown_options_get_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "demo", "--jbos", "2"]) == 2
    assert "did you mean --jobs" in capsys.readouterr().err


def test_wrong_values_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "demo", "--jobs", "many"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "jobs" in error


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--jobs", "many"], "--jobs: expected a whole number, found 'many'"),
        (["--engine", "pbs"], "--engine: expected local, ray or slurm, found 'pbs'"),
        (["--overwrite", "maybe"], "--overwrite: expected never, stale, failed or always, found 'maybe'"),
    ],
)
def test_wrong_types_are_told_in_words(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "demo", *words]) == 2
    assert capsys.readouterr().err == f"diadbench: {sentence}; see diadbench run --help\n"


def test_a_missing_option_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "somewhere"]) == 2
    assert capsys.readouterr().err == "diadbench: --protocol is required; see diadbench evaluate --help\n"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"steps": "many"}, "methods.diad: steps: expected a whole number, found 'many'"),
        ({"sff_init": "on"}, "methods.diad: sff_init: expected official or active, found 'on'"),
        ({"levels": 3}, "methods.diad: levels: expected a list, found 3"),
        ({"autoencoder_betas": [1]}, "methods.diad: autoencoder_betas: expected a list of 2, found [1]"),
    ],
)
def test_wrong_options_of_a_method_are_told_in_words(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        resolve_method("diad", options, "methods.diad")
    assert str(caught.value) == sentence


def test_options_may_stand_anywhere(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "--cells", "demo"]) in (0, 2)
    assert main(["show", "demo", "seeds=[7]", "image_size=96"]) == 0
    shown = capsys.readouterr().out
    assert "image_size: 96" in shown
    assert "- 7" in shown


def test_status_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(tmp_path)]) == 2
    assert "not a run directory" in capsys.readouterr().err


def test_debug_shows_the_traceback() -> None:
    from diadbench.common.errors import UserError

    with pytest.raises(UserError):
        main(["status", "nowhere", "--debug"])


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("diadbench 0.")
