"""Files and what programs print are UTF-8 whatever the locale: every text that the code opens names its encoding."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diadbench.benchmark.planning.grid import load_grid
from diadbench.common.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("benchmark", "benchmarks", "datasets", "diadbench/cli", "diadbench/common", "methods", "reports")
FILES = sorted([*(ROOT / "diadbench").glob("*.py"), *(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))])
OPENERS = {"open", "fdopen", "TextIOWrapper", "NamedTemporaryFile", "TemporaryFile", "SpooledTemporaryFile"}
PROGRAMS = {"run", "Popen", "check_output", "check_call", "partial"}
READERS = {"loadtxt", "savetxt", "genfromtxt", "FileHandler"}
#: open() of these is no text of ours
OTHERS = {"Image", "tarfile", "zipfile", "os", "webbrowser", "lmdb", "self", "np", "archive", "zip", "tar"}


def unnamed(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and name of each call that would read or write text in the locale's encoding."""
    for call in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        owner = getattr(call.func.value, "id", "") if isinstance(call.func, ast.Attribute) else ""
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        if "encoding" in given or None in given:
            continue
        if name in ("read_text", "write_text") and isinstance(call.func, ast.Attribute):
            positional = 0 if name == "read_text" else 1
            if len(call.args) <= positional and owner != "files":
                yield call.lineno, name
        elif name in OPENERS and not (owner in OTHERS and name == "open"):
            if not _is_binary(name, owner, call, given):
                yield call.lineno, name
        elif (name in PROGRAMS and {"text", "universal_newlines"} & set(given)) or name in READERS:
            yield call.lineno, name


def _is_binary(name: str, owner: str, call: ast.Call, given: dict[str | None, ast.expr]) -> bool:
    if name == "TextIOWrapper":
        return False
    place = 1 if name == "fdopen" or (name == "open" and owner in ("", "gzip", "bz2", "lzma", "io")) else 0
    mode = given.get("mode") or (call.args[place] if len(call.args) > place else None)
    if mode is None:  # temporary files and archives are binary unless told otherwise, files are not
        return name.endswith("TemporaryFile") or owner in ("gzip", "bz2", "lzma")
    modes = [node.value for node in ast.walk(mode) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    if not modes:  # open() of something else, or a mode that is computed
        return isinstance(call.func, ast.Attribute) and name == "open"
    return all("b" in mode or (owner in ("gzip", "bz2", "lzma") and "t" not in mode) for mode in modes)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_text_names_its_encoding(path: Path) -> None:
    found = list(unnamed(path.read_text(encoding="utf-8")))
    assert not found, f"{path.relative_to(ROOT)}: name the encoding (utf-8) in {found}"


@pytest.mark.parametrize(
    "line",
    [
        "open(path)",
        "open(path, 'w')",
        "path.open('a')",
        "path.open()",
        "path.read_text()",
        "path.write_text(text)",
        "os.fdopen(handle, 'w')",
        "tempfile.NamedTemporaryFile('w')",
        "gzip.open(path, 'rt')",
        "subprocess.run(words, text=True)",
        "np.loadtxt(path)",
    ],
)
def test_the_rule_sees_what_names_none(line: str) -> None:
    assert list(unnamed(line))
    named = line.replace(")", ", encoding='utf-8')") if not line.endswith("()") else line[:-1] + "encoding='utf-8')"
    assert not list(unnamed(named))


@pytest.mark.parametrize(
    "line",
    [
        "open(path, 'rb')",
        "open(path, 'r+b' if new else 'wb')",
        "path.open('wb')",
        "gzip.open(path)",
        "Image.open(path)",
    ],
)
def test_the_rule_leaves_bytes_alone(line: str) -> None:
    assert not list(unnamed(line))


# -- the programs ------------------------------------------------------------------------------------------------

GRID = """name: größe
note: für 瓶子
threads: 1
device: cpu
methods: {平均: {method: 'METHOD', options: {seconds: 0.0}}}
datasets: {größe: {dataset: folder, root: 'my data/größe 瓶子'}}
"""
CHEAP = ROOT / "tests" / "storm" / "cheap"
#: name -> source of localedef's charmap
LOCALES = {"C": "", "zh_CN.GBK": "GBK", "de_DE.ISO-8859-1": "ISO-8859-1"}


@pytest.fixture(params=LOCALES)
def locale(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """Environment variables of a locale whose encoding isn't UTF-8."""
    name: str = request.param
    if LOCALES[name]:
        command = ["localedef", "-i", name.partition(".")[0], "-f", LOCALES[name], str(tmp_path / name)]
        try:
            subprocess.run(command, capture_output=True, check=False)
        except FileNotFoundError:
            pytest.skip("no localedef")
        if not (tmp_path / name).is_dir():
            pytest.skip(f"localedef can't make {name}")
    variables = {**os.environ, "LOCPATH": str(tmp_path), "LC_ALL": name, "LANG": name, "PYTHONUTF8": "0"}
    return {**variables, "PYTHONCOERCECLOCALE": "0", "DIADBENCH_CACHE": str(tmp_path / "cache")}


def diadbench(place: Path, environment: dict[str, str], *words: str, cheap: bool = False) -> bytes:
    """Run a command in ``place`` and return what it printed. Its words are UTF-8, as a disk has them."""
    path = [str(CHEAP)] * cheap + [environment.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "diadbench", *words],
        cwd=place,
        env={**environment, "PYTHONPATH": os.pathsep.join(filter(None, path))},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
    return done.stdout


def test_a_grid_in_any_script_runs_in_any_locale(tmp_path: Path, locale: dict[str, str]) -> None:
    from diadbench.benchmark.records.store import RunDirectory

    for name in ("train/good", "test/good"):
        folder = tmp_path / "my data" / "größe 瓶子" / "瓶子" / name
        folder.mkdir(parents=True)
        Image.fromarray(np.full((8, 8, 3), 7, dtype=np.uint8)).save(folder / "0.png")
    text = GRID.replace("METHOD", f"{CHEAP / 'storm_method.py'}:StormMethod")
    (tmp_path / "größe.yaml").write_text(text, encoding="utf-8")
    diadbench(tmp_path, locale, "run", "größe.yaml", "--out", "Läufe 1", "--no-report", cheap=True)
    run = RunDirectory(tmp_path / "Läufe 1")
    assert (run.grid["note"], run.grid["name"]) == ("für 瓶子", "größe")
    (cell,) = run.cells()
    assert (cell.dataset, cell.method, cell.state) == ("größe", "平均", "done")
    assert "größe,平均," in (run.path / "results.csv").read_text(encoding="utf-8")
    diadbench(tmp_path, locale, "status", "Läufe 1")
    words = ["--rows", "method", "--columns", "dataset", "--metrics", "mAD", "--format", "markdown"]
    shown = diadbench(tmp_path, locale, "table", "Läufe 1", *words)
    encoding = LOCALES[locale["LC_ALL"]] or "utf-8"
    assert "größe".encode(encoding, "backslashreplace") in shown
    diadbench(tmp_path, locale, "table", "Läufe 1", *words, "--out", "t.md")
    kept = (tmp_path / "t.md").read_text(encoding="utf-8")
    assert "größe 瓶子" in kept
    diadbench(tmp_path, locale, "report", "Läufe 1", "--out", "Bericht")
    page = (tmp_path / "Bericht" / "index.html").read_text(encoding="utf-8")
    assert "größe 瓶子" in page


def test_a_grid_that_is_not_utf_8_is_a_users_mistake(tmp_path: Path) -> None:
    path = tmp_path / "iso.yaml"
    path.write_bytes("name: n\nnote: für\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"iso.yaml: expected UTF-8, line 2 has the byte 0xfc; save the file as UTF-8"):
        load_grid(path)
    path.write_bytes(b"\xef\xbb\xbf" + "methods: [mean-image]\ndatasets: [toy]\nnote: für\n".encode())
    assert load_grid(path).note == "für"


def test_a_name_that_is_not_utf_8_is_said(tmp_path: Path) -> None:
    (tmp_path / "grid.yaml").write_text("methods: [mean-image]\ndatasets: [toy]\n", encoding="utf-8")
    words = [sys.executable, "-P", "-m", "diadbench", "run", "grid.yaml", "--out", b"L\xe4ufe"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, env={**os.environ, "PYTHONUTF8": "1"}, check=False)
    assert done.returncode == 2, done.stderr
    assert b"Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(b"diadbench: a name isn't UTF-8: L\\udce4ufe"), done.stderr
