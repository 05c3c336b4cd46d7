"""Execute the notebooks of docs/notebooks again, and keep what they show. Needs the extra ``dev``."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent / "notebooks"
#: seconds that one cell of a notebook may take
LIMIT = 240


def executed(path: Path, folder: Path) -> Any:
    """Return a notebook, executed from its start in a folder; its source is as it was.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell raised.
    """
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=LIMIT, resources={"metadata": {"path": str(folder)}}).execute()
    notebook.metadata["language_info"] = {"name": "python"}
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = joined(cell.outputs)
    return notebook


def joined(outputs: list[Any]) -> list[Any]:
    """Return outputs as a notebook shows them: what is printed one after the other is one text."""
    found: list[Any] = []
    for output in outputs:
        if found and output.output_type == found[-1].output_type == "stream" and output.name == found[-1].name:
            found[-1].text += output.text
        else:
            found.append(output)
    for output in found:
        if output.output_type == "stream":
            output.text = seen(output.text)
    return found


def seen(text: str) -> str:
    """Return what a reader sees of an output: of a line that was written over, its last state."""
    return "\n".join(line.rsplit("\r", 1)[-1].rstrip() for line in text.split("\n"))


def main() -> None:
    """Execute all notebooks, each in a folder of its own."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        with tempfile.TemporaryDirectory() as folder:
            notebook = executed(path, Path(folder))
            text = nbformat.writes(notebook).replace(os.path.realpath(folder) + "/", "").replace(f"{folder}/", "")
        path.write_text(text.rstrip() + "\n", encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
