"""``diadbench predict``."""

from __future__ import annotations


def command(cell: str, *, images: str, out: str | None = None, part: str | None = None) -> int:
    """Run a trained cell on any images: anomaly maps, overlays, a CSV of scores.

    Args:
        cell: Directory of the cell: RUN/cells/DATASET/METHOD/SETTING/seedN.
        images: A directory of images, or one image.
        out: Directory for the results; `predictions` beside the images by default.
        part: Which model, where the cell has several: the class in one-per-class.

    Example::

        diadbench predict runs/demo/cells/toy/patchcore/multi-class/seed0 --images photos --out found
    """
    from pathlib import Path

    from diadbench.benchmark.reuse.predict import predict_images

    source = Path(images)
    target = Path(out) if out else source.absolute().parent / "predictions"
    print(f"scores: {predict_images(Path(cell), source, target, part)}")
    return 0
