"""``diadbench predict``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diadbench.benchmark.reuse.predict import Predicted

#: Rows of the table that are printed; the file has them all.
SHOWN = 10


def command(
    cell: str,
    *,
    images: list[str],
    out: str | None = None,
    part: str | None = None,
    among: str = "",
    threshold: str = "95%",
    json: bool = False,
) -> int:
    """Run a trained cell on any images: scores, what they mean, anomaly maps and overlays.

    scores.csv has one row an image: its score, the percentile of that score among the normal test images of the cell,
    and a decision at the threshold, which is stated. Hidden files, files that are no images and earlier predictions are
    passed over and counted; a broken image costs itself alone. Killed, the same command goes on.

    Args:
        cell: Directory of the cell: RUN/cells/DATASET/METHOD/SETTING/seedN; a run with one finished cell will do.
        images: Images and folders of images, as many as there are.
        out: Directory for the results; `predictions` beside the first of the images by default.
        part: Which model, where the cell has several: the class in one-per-class.
        among: Compare with the normal test images of this class alone; classes may have scores of their own scale.
        threshold: Above it an image is called anomalous: a score, or a share of the normal test images at or below it.
        json: Print JSON, with every row.

    Example::

        diadbench predict runs/demo/cells/toy/patchcore/multi-class/seed0 --images photos --out found
        diadbench predict runs/demo/cells/toy/patchcore/multi-class/seed0 --images a.png b.jpg --threshold 99% --json
    """
    from pathlib import Path

    from diadbench.benchmark.reuse.predict import predict_images
    from diadbench.cli.terminal_bar import terminal_bar
    from diadbench.methods.base import no_progress

    given = [Path(text) for text in images]
    target = Path(out) if out else given[0].absolute().parent / "predictions"
    with terminal_bar(json, what="predict") as bar:
        made = predict_images(
            Path(cell), given, target, part, among=among, threshold=threshold, progress=bar or no_progress
        )
    _print_json(made) if json else _print_text(made)
    return 0


def _print_json(made: Predicted) -> None:
    from json import dumps

    print(dumps(made.to_json(), indent=2, ensure_ascii=False))


def _print_text(made: Predicted) -> None:
    from diadbench.datasets.decoding.lookalikes import shown

    columns = (made.table[name].tolist()[:SHOWN] for name in ("score", "percentile", "decision", "image"))
    for score, percentile, decision, image in zip(*columns, strict=True):
        place = "" if percentile != percentile else f"{percentile:6.1f} %  "  # NaN: nothing to compare with
        print(f"{score:12.6g}  {place}{decision:<11}{shown(image)}")
    if len(made.table) > SHOWN:
        print(f"... and {len(made.table) - SHOWN:,} more")
    if made.threshold.value is None:
        print(f"threshold: {made.threshold.why}")
    else:
        print(f"threshold: {made.threshold.value:.6g} ({made.threshold.why})")
    if len(made.normal.scores):
        print(f"percent: of {made.normal.of} with a lower score")
    for image, reason in list(made.broken.items())[:SHOWN]:
        print(f"broken: {reason if image in reason else f'{image}: {reason}'}")
    counts = {**made.passed_over, **({"broken": len(made.broken)} if made.broken else {})}
    if counts:
        print(f"passed over: {', '.join(f'{count} {reason}' for reason, count in counts.items())}")
    for note in made.notes:
        print(f"note: {note}")
    print(f"scores: {made.scores}")
