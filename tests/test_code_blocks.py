"""Each block of code on a page of the site, in a notebook's text and in a docstring is run, or says why it isn't.

A block that can't be run has ``<!-- not run: the reason -->`` on the line above it. Blocks of ``text`` are outputs and
folders. What is run elsewhere is named in :data:`RUN_BY` with the test that runs it; the rest is run here.
"""

from __future__ import annotations

import ast
import doctest
import importlib
import json
import re
import shlex
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from diadbench.benchmark.planning.grid import parse_grid
from diadbench.cli import main
from tests.helpers.real_run import make_run

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "CODE_OF_CONDUCT.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs/notebooks").glob("*.ipynb")),
]
SOURCES = [path for room in ("benchmark", "datasets", "methods", "reports") for path in (ROOT / room).rglob("*.py")]
SOURCES += [*(ROOT / "diadbench/common").rglob("*.py"), ROOT / "diadbench/api.py"]
#: Tests that run all blocks of a language on a page: ``{(page, language): test}``.
RUN_BY = {
    ("docs/metrics.md", "python"): "tests/metrics/test_metric_docs.py",
    ("docs/diad.md", "python"): "tests/diad/test_diad_docs.py",
    ("docs/uniad.md", "python"): "tests/uniad/test_uniad_docs.py",
    ("docs/datasets.md", "python"): "tests/datasets_six/test_check_and_info.py",
    ("docs/datasets.md", "bash"): "tests/datasets_six/test_check_and_info.py",
    ("docs/reports.md", "python"): "tests/reports/test_report_docs.py",
    ("docs/reports.md", "sh"): "tests/reports/test_report_docs.py",
    ("docs/tutorial.md", "python"): "tests/methods/test_tutorial.py",
    ("docs/tutorial.md", "console"): "tests/methods/test_tutorial.py",
}
#: Pages whose commands are run here, in the order in which they stand.
COMMANDS_RUN_HERE = ("README.md", "CONTRIBUTING.md", "docs/sharing.md", "docs/diad.md")
#: Beginnings of lines in these that aren't run, with the reason.
LEFT_OUT = {
    "pip install": "changes the environment",
    "diadbench doctor  ": "looks for weights and data of the paper grid for 5 minutes; tests/doctor runs its parts",
    "diadbench doctor demo": "takes minutes; tests/doctor examines a smaller grid",
    "diadbench diad test mvtec --root": "needs MVTec-AD and a checkpoint of the authors",
}
#: Literal blocks of docstrings (behind ``::``): ``grid``, ``yaml`` and ``python`` are read, the others are layouts.
DOCSTRINGS = {
    "benchmark/planning/grid.py": "grid",
    "benchmark/records/ledger.py": "files of a run",
    "benchmark/records/store.py": "files of a run",
    "datasets/layouts/roots.py": "yaml",
    "methods/authoring/conformance.py": "python",
    "methods/training/lightning.py": "python",
    "reports/__init__.py": "python",
}


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    language: str
    code: str
    reason: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line} {self.language}"


def text_of(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return text
    cells = json.loads(text)["cells"]
    return "\n".join("".join(cell["source"]) + "\n" for cell in cells if cell["cell_type"] == "markdown")


def blocks() -> Iterator[Block]:
    pattern = r"(?:^<!-- not run: (.*?) -->\n)?^[ ]*```(\S*)[^\n]*\n(.*?)^[ ]*```"
    for path in PAGES:
        text = text_of(path)
        for found in re.finditer(pattern, text, flags=re.M | re.S):
            line = text[: found.start()].count("\n") + 1
            name = path.relative_to(ROOT).as_posix()
            yield Block(name, line, found[2], found[3], " ".join((found[1] or "").split()))


BLOCKS = [block for block in blocks() if block.language != "text"]
SHELL = ("sh", "bash", "console")


def test_there_are_blocks_of_each_kind() -> None:
    assert {block.language for block in BLOCKS} == {"sh", "bash", "console", "python", "yaml", "toml"}
    assert len(BLOCKS) > 35


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_is_run_or_says_why_not(block: Block) -> None:
    if block.reason:
        assert len(block.reason.split()) > 3, "a reason, not a word"
    elif block.language in ("yaml", "toml"):
        read(block.language, block.code)
    elif block.language in SHELL and block.page in COMMANDS_RUN_HERE:
        assert [*commands(block.page)]
    elif (block.page, block.language) == ("README.md", "python"):
        assert "diadbench.run(" in block.code  # test_the_front_page_runs
    else:
        test = RUN_BY[block.page, block.language]
        assert Path(block.page).name in (ROOT / test).read_text(encoding="utf-8"), f"{test} doesn't read {block.page}"


def read(kind: str, code: str) -> None:
    """Read a grid, a part of one, or an entry point."""
    if kind == "toml":
        assert tomllib.loads(code)["project"]["entry-points"]["diadbench.methods"]
        return
    found = yaml.safe_load(code)
    grid = {"name": "shown", "methods": ["mean-image"], "datasets": ["toy"], **found}
    if "show" in found:
        grid["methods"] = {"DiAD": {"method": "mean-image"}, "RevDist": {"method": "pixel-knn"}}
        grid["datasets"] = ["visa", "mvtec"]
    assert parse_grid(grid).methods


@pytest.mark.parametrize("page", sorted({block.page for block in BLOCKS}))
def test_what_is_left_out_stands_there(page: str) -> None:
    if page in COMMANDS_RUN_HERE:
        assert any(not left_out(line) for line in commands(page))
    every = [line for name in COMMANDS_RUN_HERE for line in commands(name)]
    assert all(any(line.startswith(start) for line in every) for start in LEFT_OUT)


def commands(page: str) -> list[str]:
    shown = [block.code for block in BLOCKS if block.page == page and block.language in SHELL and not block.reason]
    lines = "\n".join(shown).replace("\\\n", " ").splitlines()
    return [line.removeprefix("$ ") for line in lines if line.strip() and not line.startswith("#")]


def left_out(line: str) -> bool:
    return line.startswith(tuple(LEFT_OUT))


# -- run here -----------------------------------------------------------------------------------------------------

TINY = {
    "name": "demo",
    "methods": ["mean-image", "diad"],
    "datasets": {"toy": {"options": {"size": 64, "train": 4, "test_good": 2, "test_bad": 1, "classes": ["weave"]}}},
    "image_size": 64,
    "threads": 1,
    "device": "cpu",
}


FEW = """
from diadbench.datasets.toy.dataset import Toy


class Few(Toy):
    def __init__(self, root=None):
        super().__init__(root, size=64, train=2, test_good=1, test_bad=1)
"""


def run_commands(page: str, instead: dict[str, str], more: Sequence[str] = ()) -> str:
    """Run a page's commands, with smaller things in place of some words and more words behind; return what was run."""
    ran = []
    for line in commands(page):
        if left_out(line):
            continue
        words = [instead.get(word, word) for word in shlex.split(line, comments=True)]
        assert words[0] == "diadbench", line
        assert main([*words[1:], *more]) == 0, line
        ran.append(line)
    return "\n".join(ran)


@pytest.fixture
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIADBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.mark.usefixtures("_place")
def test_sharing_runs(tmp_path: Path) -> None:
    small: dict[str, Any] = {"datasets": {"mvtec": ["bottle"]}, "seeds": (0,)}
    make_run(tmp_path / "runs/demo", methods=("DiAD", "padim"), **small)
    make_run(tmp_path / "runs/mine", methods=("DiAD",), **small)
    theirs = make_run(tmp_path / "theirs", methods=("DiAD", "UniAD"), **small)
    assert main(["pack", str(theirs.path), "--out", "colleague.tar.gz"]) == 0
    images = tmp_path / "theirs images/0"
    ran = run_commands("docs/sharing.md", {"mvtec=/data/mvtec": f"mvtec={images}"})
    assert (tmp_path / "demo.tar.gz").exists()
    assert [*(tmp_path / "site").glob("*.html")]
    assert {"pack", "merge", "report", "verify", "publish"} <= set(ran.split())


@pytest.mark.slow
@pytest.mark.usefixtures("_place")
@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_the_commands_of_the_front_page_run(page: str, tmp_path: Path) -> None:
    options = {"size": "tiny", "weights": "random", "backbone": "tf_efficientnet_lite0", "backbone_weights": "package"}
    budget = {"train_steps": 2, "autoencoder_steps": 2, "batch_size": 2, "accumulate": 1, "steps": 2}
    methods = {"mean-image": None, "diad": {"options": {**options, **budget, "autoencoder_accumulate": 1}}}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump({**TINY, "methods": methods}))
    ran = run_commands(page, {"demo": "tiny.yaml"})
    assert "methods check" in ran


@pytest.mark.slow
@pytest.mark.usefixtures("_place")
def test_the_front_page_runs(tmp_path: Path) -> None:
    (code,) = [block.code for block in BLOCKS if (block.page, block.language) == ("README.md", "python")]
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump({**TINY, "methods": ["mean-image"]}))
    names: dict[str, Any] = {}
    exec(code.replace('"demo"', '"tiny.yaml"'), names)
    assert {"class", "metric", "value"} <= set(names["run"].results().columns)


@pytest.mark.slow
@pytest.mark.usefixtures("_place")
def test_diad_step_by_step_runs() -> None:
    Path("few.py").write_text(FEW, encoding="utf-8")
    names = ("autoencoder_steps", "train_steps", "steps", "batch_size", "autoencoder_batch_size")
    ran = run_commands("docs/diad.md", {"toy": "few.py:Few"}, ["--options", *(f"{name}=2" for name in names)])
    assert "diad compare" in ran


# -- docstrings ---------------------------------------------------------------------------------------------------


def literal_blocks(path: Path) -> list[str]:
    """Return the blocks behind ``::`` in the docstrings of a file."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            found += re.findall(r"::\n\n((?:    .*\n|\n)+)", (ast.get_docstring(node) or "") + "\n")
    return [re.sub(r"^    ", "", block, flags=re.M) for block in found]


def test_the_blocks_of_docstrings_are_known() -> None:
    assert {path.relative_to(ROOT).as_posix() for path in SOURCES if literal_blocks(path)} == set(DOCSTRINGS)


@pytest.mark.parametrize("name", [name for name, kind in DOCSTRINGS.items() if kind in ("grid", "yaml", "python")])
def test_a_block_of_a_docstring_is_right(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = literal_blocks(ROOT / name)
    monkeypatch.chdir(tmp_path)
    if DOCSTRINGS[name] == "grid":
        read("yaml", code)
    elif DOCSTRINGS[name] == "yaml":
        assert set(yaml.safe_load(code)) == {"data_root", "datasets"}
    elif name == "reports/__init__.py":
        make_run(tmp_path / "runs/demo", methods=("DiAD", "padim"), datasets={"elpv": ["mono"]})
        exec(code, {})
        assert (tmp_path / "runs/demo/report/index.html").exists()
    else:  # needs a class of the reader's own: the names that it imports and overrides are there
        module: Any = importlib.import_module("diadbench." + name.removesuffix(".py").replace("/", "."))
        names = {"MyModule": type("MyModule", (), {}), **vars(module), "MyMethod": None}
        exec(code, names)
        own = names["MyMethod"]
        for overridden in [key for key in vars(own or object) if own and not key.startswith("_")]:
            assert hasattr(own.__mro__[1], overridden), overridden


def test_examples_with_prompts_give_what_they_show() -> None:
    places = [path for path in SOURCES if ">>> " in path.read_text(encoding="utf-8")]
    assert places
    for path in places:
        module = importlib.import_module(
            f"diadbench.{path.relative_to(ROOT).with_suffix('').as_posix()}".replace("/", ".")
        )
        result = doctest.testmod(module)
        assert result.attempted
        assert result.failed == 0, path
