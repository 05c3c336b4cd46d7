"""What a killed cell leaves for its next try: half-trained checkpoints, fitted models."""

from __future__ import annotations

import os
import shutil
import tempfile
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING

from diadbench.common.errors import UserError
from diadbench.common.files import read_json, write_json, write_text

if TYPE_CHECKING:
    from diadbench.methods.base import Method, RunSettings


class Scratch:
    """``scratch/<part>`` for the method while it trains, ``checkpoint/<part>`` for the fitted model.

    Both belong to one identity: what another configuration left behind is removed, never used.

    Args:
        directory: The cell's directory.
        identity: The cell's identity.
    """

    def __init__(self, directory: Path, identity: str) -> None:
        self._cell = directory
        owner = directory / "scratch" / "identity"
        #: Whether an earlier process of the cell has been at work here.
        self.resumed = owner.is_file() and owner.read_text(encoding="utf-8") == identity
        if not self.resumed:
            for name in ("scratch", "checkpoint"):
                shutil.rmtree(directory / name, ignore_errors=True)
            write_text(owner, identity)

    def directory(self, part: str) -> Path:
        """Return the method's own directory for one part."""
        path = self._cell / "scratch" / _safe(part)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def checkpoint(self, part: str) -> Path:
        """Return where the fitted model of a part is, or will be."""
        return self._cell / "checkpoint" / _safe(part)

    def save(self, checkpoint: Path, method: Method, run: RunSettings) -> None:
        """Save a fitted model whole or not at all."""
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=checkpoint.parent, prefix=".saving-"))
        method.save(temporary)
        write_json(temporary / "run.json", {"notes": run.notes, "extras": run.extras})
        temporary.chmod(0o755)
        os.replace(temporary, checkpoint)

    def recall(self, checkpoint: Path, run: RunSettings) -> None:
        """Restore what the method had said when it was fitted."""
        said = read_json(checkpoint / "run.json") or {}
        run.notes[:] = said.get("notes", [])
        run.extras.update(said.get("extras", {}))

    def clear(self, *, keep_checkpoints: bool) -> None:
        """Remove what only a resume would have needed. Training curves stay (``history.csv``)."""
        shutil.rmtree(self._cell / "spill", ignore_errors=True)
        shutil.rmtree(self._cell / "scratch", ignore_errors=True)
        if not keep_checkpoints:
            shutil.rmtree(self._cell / "checkpoint", ignore_errors=True)


def kept_model(cell: Path, part: str | None = None) -> Path:
    """Return the directory of a cell's fitted model.

    Args:
        cell: The cell's directory.
        part: Which one, where there are several (``one-per-class``: the class).

    Raises:
        UserError: None is kept, or the part isn't said or isn't there.
    """
    parts = sorted(path.name for path in (cell / "checkpoint").glob("*") if path.is_dir())
    if not parts:
        raise UserError(f"{cell}: no checkpoint; the grid must have keep_checkpoints: true, and the cell be done")
    if part is None and len(parts) > 1:
        raise UserError(f"{cell}: it has several models; choose one with --part: {', '.join(parts)}")
    chosen = part or parts[0]
    if chosen not in parts:
        raise UserError(f"{cell}: no model {chosen!r}; it has {', '.join(parts)}")
    return cell / "checkpoint" / chosen


def _safe(part: str) -> str:
    text = urllib.parse.quote(part, safe=" ")
    return "%2E" + text[1:] if text.startswith(".") else text
