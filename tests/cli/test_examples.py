"""Every command in `--help` and in the documents can be typed as it stands, in zsh too; the quick ones are run."""

from __future__ import annotations

import importlib
import inspect
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from diadbench.cli import COMMANDS, main
from diadbench.cli.command_words import apart, refuse_unknown_options, single_words
from diadbench.cli.parser import build, checked_words

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "CONTRIBUTING.md"])
#: What takes a moment, needs no data and changes nothing outside the working directory.
QUICK = (
    "--version", "--help", "grids list", "methods list", "methods info", "methods new", "datasets list",
    "datasets info", "show", "published list", "cache list", "datasets make-sample",
)  # fmt: skip
#: What of these needs more than the program: files of a user, options that only an installed package has.
NEEDS = ("anomalib:", "--root", "--sheet", "--run", "my_", "RUN", "NAME", "FILE", "runs/", "show grid")


def functions(name: str) -> dict[str, Callable[..., Any]]:
    module = importlib.import_module(f"diadbench.cli.commands.cmd_{name.replace('-', '_')}")
    return getattr(module, "VERBS", None) or {"": module.command}


def of_help() -> Iterator[tuple[str, str]]:
    for name in COMMANDS:
        for verb, function in functions(name).items():
            example = inspect.cleandoc(function.__doc__ or "").partition("Example::")[2]
            for line in example.splitlines():
                if "diadbench " in line:
                    yield f"{name} {verb}".strip(), line.strip()


def of_blocks() -> Iterator[tuple[str, str]]:
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        fenced = re.findall(r"^```(?:console|bash|sh|shell)\n(.*?)^```", text, flags=re.M | re.S)
        for line in "\n".join(fenced).replace("\\\n", " ").splitlines():
            if re.match(r"(\$ )?([A-Z_]+=\S+ )*diadbench ", line):
                yield path.name, line.removeprefix("$ ").strip()


def of_prose() -> Iterator[tuple[str, str]]:
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        prose = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
        for line in re.findall(r"`(diadbench [^`]+)`", prose):
            if not re.search(r"\.\.\.|\||<|…", line) and "[" not in re.sub(r"'[^']*'", "", line):
                yield path.name, " ".join(line.split())


PROSE = {*of_prose()} - {*of_blocks(), *of_help()}
EXAMPLES = sorted({*of_help(), *of_blocks(), *PROSE})


def typed(line: str) -> list[str]:
    words = shlex.split(line, comments=True)
    while "=" in words[0] and words[0].partition("=")[0].isupper():
        words.pop(0)
    assert words.pop(0) == "diadbench"
    return [word for word in words if word not in (">", "2>")] if ">" not in words else words[: words.index(">")]


def test_there_are_examples_of_every_command() -> None:
    seen = {" ".join(typed(line)[: 1 + ("" not in functions(typed(line)[0]))]) for _, line in EXAMPLES if
            typed(line)[0] in COMMANDS}  # fmt: skip
    every = {f"{name} {verb}".strip() for name in COMMANDS for verb in functions(name)}
    assert every <= seen
    assert len(EXAMPLES) > 80


@pytest.mark.parametrize(("place", "line"), EXAMPLES, ids=lambda text: text[:70])
def test_an_example_can_be_typed(place: str, line: str) -> None:
    bare = re.sub(r"'[^']*'|\"[^\"]*\"|#.*", "", line)
    assert not re.search(r"[\[\]{}*?()]", bare), f"{place}: zsh takes this for a pattern; quote it: {line}"
    words = typed(line)
    if not words or words[0].startswith("--"):
        return
    assert words[0] in COMMANDS, f"{place}: {line}"
    found = functions(words[0])
    verb = "" if "" in found else words[1] if len(words) > 1 else None
    if verb is None:
        return  # the command's name alone, in prose
    assert verb in found, f"{place}: {line}"
    rest = words[1 + bool(verb) :]
    parser = build(f"{words[0]} {verb}".strip(), found[verb])
    refuse_unknown_options(parser, rest)
    given = apart(parser, rest)
    if (place, line) not in PROSE:  # which may name a command without its words
        checked_words(found[verb], given)


QUICK_ONES = sorted(
    {line for _, line in EXAMPLES
     if " ".join(typed(line)).startswith(QUICK) and not any(word in line for word in NEEDS)}
)  # fmt: skip


@pytest.mark.parametrize("line", QUICK_ONES, ids=lambda text: text[:70])
def test_a_quick_example_runs(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = typed(line)
    for place, word in enumerate(words):
        if word.startswith("/tmp/"):
            words[place] = str(tmp_path / word.removeprefix("/tmp/"))
    assert main(words) == 0
    assert capsys.readouterr().out


def test_a_list_ends_where_a_key_of_the_grid_begins() -> None:
    found = functions("run")[""]
    words = ["demo", "--seeds", "0", "1", "image_size=64", "--only", "toy", "threads=1", "--method", "a.py:A", "b.py:B"]
    given = checked_words(found, apart(build("run", found), words))
    assert given["grid"] == ["demo", "image_size=64", "threads=1"]
    assert (given["seeds"], given["only"], given["method"]) == ([0, 1], ["toy"], ["a.py:A", "b.py:B"])
    table = functions("table")[""]
    given = checked_words(table, apart(build("table", table), ["--names", "RevDist=Ours", "b=c", "--no-std", "runs/x"]))
    assert (given["names"], given["runs"]) == (["RevDist=Ours", "b=c"], ["runs/x"])


def test_a_list_takes_spaces_and_commas_and_ends_at_a_run(tmp_path: Path) -> None:
    (tmp_path / "grid.yaml").write_text("name: x")
    table, run = functions("table")[""], str(tmp_path)
    lists = ("metrics", "rows", "methods", "datasets", "classes", "drop", "ours", "published")
    for name in lists:
        for words in ([run, f"--{name}", "a", "b,c"], [f"--{name}", "a", "b,c", run], [f"--{name}", "a,b,c", run]):
            given = checked_words(table, apart(build("table", table), words))
            assert (single_words(given[name]), given["runs"]) == (["a", "b", "c"], [run]), words
