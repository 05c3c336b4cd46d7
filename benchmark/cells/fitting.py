"""Fit a model once: it is saved before any test image is read, and a cell that was killed loads it again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from diadbench.benchmark.cells.provenance import random_state, seed_everything
from diadbench.benchmark.cells.scoring.calibrating import forget_normal
from diadbench.benchmark.cells.scoring.scored_batches import Predictions
from diadbench.common.errors import Skip
from diadbench.common.processes.out_of_memory import is_out_of_memory
from diadbench.methods.features.origin import add

if TYPE_CHECKING:
    from diadbench.benchmark.cells.scratch import Scratch
    from diadbench.datasets.decoding.data import TrainData
    from diadbench.methods.base import Method, RunContext


def fit_or_load(
    make: Callable[[], Method],
    train: TrainData,
    run: RunContext,
    checkpoint: Path,
    scratch: Scratch,
    scored: Predictions,
) -> Method:
    """Return the fitted method: loaded if an earlier process of this cell saved it, else fitted and saved.

    A saved model that can't be loaded is fitted again, and a note says so. The scores of the lost model are discarded.

    Args:
        make: Returns a new, untrained method.
        train: Training images of the part.
        run: The run as the method sees it. The notes and extra values of the fit are restored to it.
        checkpoint: Directory of the fitted model, which need not exist yet.
        scratch: The scratch directories of the cell.
        scored: The predictions of the part that are already kept.

    Raises:
        Skip: The method can't run here. MemoryError and similar errors: the saved model is kept for another try.
    """
    if checkpoint.is_dir():
        method = _loaded(make, run, checkpoint, scratch, scored)
        if method is not None:
            return method
    lost = scored.said.get("lost", [])
    scored.drop()
    scored.say(lost=lost)
    method = make()
    method.fit(train, run)
    add(run.notes, lost)
    scored.begin(random_state(run.device))
    scratch.save(checkpoint, method, run)
    return method


def _loaded(
    make: Callable[[], Method], run: RunContext, checkpoint: Path, scratch: Scratch, scored: Predictions
) -> Method | None:
    """Return the saved model, or ``None`` if it can't be loaded; the model and its scores are then removed."""
    method = make()
    try:
        method.load(checkpoint, run)
    except Exception as error:
        if isinstance(error, Skip) or is_out_of_memory(error):
            raise
        scored.drop()
        scored.say(lost=[_lost(error)])  # Removed first, in case the second fit is killed as well.
        forget_normal(run.directory)
        shutil.rmtree(checkpoint)
        run.notes.clear()
        run.extras.clear()
        seed_everything(run.seed, scratch.config.get("method", ""), tf32=scratch.config.get("tf32", True))
        return None
    scratch.recall(checkpoint, run)
    tell(scored, run)
    return method


def tell(scored: Predictions, run: RunContext) -> None:
    """Restore to the run the notes that the method gave while it predicted."""
    said = scored.said
    add(run.notes, said.get("notes", []))
    run.extras.update(said.get("extras", {}))


def _lost(error: Exception) -> str:
    what = " ".join(f"{type(error).__name__}: {error}".split())[:200].replace(";", ",")
    return f"its saved model could not be loaded after a kill, so it was fitted again ({what})"
