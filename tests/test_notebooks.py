"""The notebooks of docs are executed, whole and without an error, and their code runs again without a network."""

from __future__ import annotations

import ast
import time
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.scripts import script

nbformat = pytest.importorskip("nbformat", reason="nbformat isn't installed (pip install 'diadbench[dev]')")
ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
#: seconds for all of them together, on two cores
LIMIT = 240


def _code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_three() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["first_run", "your_method", "your_paper"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_executed_and_its_code_parses(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = _code(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    kinds = [output.output_type for cell in cells for output in cell.outputs]
    assert "error" not in kinds
    assert kinds.count("execute_result") >= 4
    shown = [sum(each.output_type in ("display_data", "execute_result") for each in cell.outputs) for cell in cells]
    assert max(shown) == 1, "a cell shows its result once"
    assert any("image/png" in str(output.get("data", {})) for cell in cells for output in cell.outputs)
    for cell in cells:
        lines = cell.source.split("\n")
        ast.parse("\n".join(lines[1:] if lines[0].startswith("%%") else lines))
    assert "/tmp" not in path.read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_notebooks_run_again_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nbclient", reason="nbclient isn't installed (pip install 'diadbench[dev]')")
    pytest.importorskip("ipykernel", reason="ipykernel isn't installed (pip install 'diadbench[dev]')")
    monkeypatch.setenv("DIADBENCH_CACHE", str(tmp_path / "cache"))
    for name in ("http_proxy", "https_proxy", "all_proxy"):  # whatever asks the network is refused
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    began = time.monotonic()
    for path in NOTEBOOKS:
        folder = tmp_path / path.stem
        folder.mkdir()
        again = _code(script("docs/run_notebooks.py").executed(path, folder))
        before = _code(nbformat.read(path, as_version=4))
        assert [_shown(cell) for cell in again] == [_shown(cell) for cell in before], path.stem
    assert time.monotonic() - began < LIMIT


def _shown(cell: Any) -> list[str]:
    """Return the kinds of a cell's outputs: figures and times differ from machine to machine."""
    return [f"{output.output_type} {sorted(output.get('data', {}))}" for output in cell.outputs]
