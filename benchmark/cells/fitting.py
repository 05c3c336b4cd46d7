"""A fitted model is made once: it is saved before any test image is looked at, and a cell that was killed loads it."""

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
    """Return the fitted method: loaded where an earlier process of this cell has saved it, else fitted and saved.

    A saved model that can't be loaded is fitted again, which a note says. What the lost one has scored is forgotten.

    Args:
        make: Returns a new, untrained method.
        train: Training images of the part.
        run: The run as the method sees it; gets back the notes and extra values of the fit.
        checkpoint: Where the fitted model is, or will be.
        scratch: The cell's.
        scored: What is scored of the part.

    Raises:
        Skip: The method can't run here. MemoryError and the like: the saved model stays for another try.
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
    """Return the saved model; ``None`` where it can't be loaded: it and what it has scored are gone then."""
    method = make()
    try:
        method.load(checkpoint, run)
    except Exception as error:
        if isinstance(error, Skip) or is_out_of_memory(error):
            raise
        scored.drop()
        scored.say(lost=[_lost(error)])  # first of all, should the second fit be killed too
        forget_normal(run.directory)
        shutil.rmtree(checkpoint)
        run.notes.clear()
        run.extras.clear()
        seed_everything(run.seed)
        return None
    scratch.recall(checkpoint, run)
    tell(scored, run)
    return method


def tell(scored: Predictions, run: RunContext) -> None:
    """Give back to the run what the method had said while it predicted."""
    said = scored.said
    add(run.notes, said.get("notes", []))
    run.extras.update(said.get("extras", {}))


def _lost(error: Exception) -> str:
    what = " ".join(f"{type(error).__name__}: {error}".split())[:200].replace(";", ",")
    return f"its saved model could not be loaded after a kill, so it was fitted again ({what})"
