"""anomalib's models whose prediction of an image depends on the images that are predicted with it."""

from __future__ import annotations

#: By the model's name in anomalib: what it computes over a batch, for the note of each cell.
BY_BATCH: dict[str, str] = {
    "Cflow": (
        "Cflow's likelihoods are measured against the highest one of a batch (in its authors' code: of the whole test "
        "set), so a map depends on the images beside it and on batch_size"
    ),
}


def batch_notes(name: str) -> list[str]:
    """Return the note on a model whose predictions depend on the batch; none for others."""
    return [BY_BATCH[name]] if name in BY_BATCH else []
