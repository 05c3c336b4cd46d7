"""The files that a killed cell leaves for its next try: half-trained checkpoints and fitted models."""

from __future__ import annotations

import shutil
import urllib.parse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diadbench.benchmark.cells import OWNER
from diadbench.benchmark.cells.phases import Phases
from diadbench.benchmark.cells.scoring.scored_batches import Predictions
from diadbench.common.errors import UserError
from diadbench.common.files import atomic_directory, write_text
from diadbench.common.wording import some
from diadbench.methods.features.origin import Origin, keep, kept
from diadbench.version import __version__

if TYPE_CHECKING:
    from diadbench.methods.base import Method, RunContext


#: Files that a resumed cell reads, and the files kept of scored images.
OWNED = ("scratch", "checkpoint", "scored", "gallery", "maps")


class Scratch:
    """``scratch/<part>`` for the method while it trains, ``checkpoint/<part>`` for the fitted model, ``scored/<part>``.

    All of them belong to one identity. Files left by another configuration are removed and never used.

    Args:
        directory: The cell's directory.
        identity: The cell's identity.
        config: The cell's configuration, stored with a fitted model as its origin.
    """

    def __init__(self, directory: Path, identity: str, config: dict[str, Any] | None = None) -> None:
        self._cell = directory
        #: The configuration of the cell.
        self.config = config or {}
        owner = directory / OWNER
        #: Whether an earlier process of the cell has written files here.
        self.resumed = owner.is_file() and owner.read_text(encoding="utf-8") == identity
        if not self.resumed:
            for name in OWNED:
                shutil.rmtree(directory / name, ignore_errors=True)
            write_text(owner, identity)

    def directory(self, part: str) -> Path:
        """Return the method's own directory for one part."""
        path = self._cell / "scratch" / _safe(part)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def checkpoint(self, part: str) -> Path:
        """Return the directory of a part's fitted model, which need not exist yet."""
        return self._cell / "checkpoint" / _safe(part)

    def save(self, checkpoint: Path, method: Method, run: RunContext) -> None:
        """Save a fitted model atomically."""
        own = {"classes": run.class_names, "image_size": run.image_size, "notes": run.notes, "extras": run.extras}
        with atomic_directory(checkpoint) as temporary:
            method.save(temporary)
            keep(temporary, replace(cell_origin(self.config), **_tuples(own)))

    def recall(self, checkpoint: Path, run: RunContext) -> None:
        """Restore the notes and values that the method gave when it was fitted."""
        said = kept(checkpoint)
        run.notes[:] = said.notes
        run.extras.update(said.extras)

    def predictions(self, part: str) -> Predictions:
        """Return the kept predictions of a part."""
        return Predictions(self._cell / "scored" / _safe(part))

    def phases(self) -> Phases:
        """Return the times of the cell, including those of earlier processes."""
        return Phases(self._cell / "scratch" / "phases.json")


def tidy(cell: Path, *, keep_checkpoints: bool) -> None:
    """Remove the files that only a resume would have needed from the directory of a finished cell.

    Training curves (``history.csv``) are kept.
    """
    for name in ("spill", "scored", "scratch", *(() if keep_checkpoints else ("checkpoint",))):
        shutil.rmtree(cell / name, ignore_errors=True)


def cell_origin(config: dict[str, Any]) -> Origin:
    """Return the part of a cell's configuration that states the origin of its models; notes come from the run."""
    return Origin(
        version=__version__,
        method=str(config.get("method", "")),
        dataset=str(config.get("dataset", "")),
        image_size=tuple(config.get("image_size", ())),
        seed=config.get("seed"),
        decides=dict(config.get("decides", {"method_options": config.get("method_options", {})})),
    )


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


def kept_model(cell: Path, part: str | None = None) -> Path:
    """Return the directory of a cell's fitted model.

    Args:
        cell: The cell's directory.
        part: Name of the model, if the cell has several (``one-per-class``: the class).

    Raises:
        UserError: No model is kept, or ``part`` is missing or unknown.
    """
    parts = sorted(path.name for path in (cell / "checkpoint").glob("*") if path.is_dir())
    if not parts:
        raise UserError(f"{cell}: no checkpoint; the grid must have keep_checkpoints: true, and the cell be done")
    if part is None and len(parts) > 1:
        raise UserError(f"{cell}: it has several models; choose one with --part: {some(parts)}")
    chosen = part or parts[0]
    if chosen not in parts:
        raise UserError(f"{cell}: no model {chosen!r}; it has {some(parts)}")
    return cell / "checkpoint" / chosen


def _safe(part: str) -> str:
    text = urllib.parse.quote(part, safe=" ")
    return "%2E" + text[1:] if text.startswith(".") else text
