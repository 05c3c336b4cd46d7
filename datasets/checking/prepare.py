"""Prepare a dataset before a run: index it, generate what is missing, and decode it into the cache."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diadbench.datasets.checking.check import refuse
from diadbench.datasets.decoding.data_module import DataModule
from diadbench.datasets.decoding.workers import Progress
from diadbench.datasets.layouts.roots import find_root
from diadbench.datasets.lookup import get


@dataclass(frozen=True)
class Prepared:
    """The result of a preparation.

    Attributes:
        root: Directory of the data; nothing was written there.
        samples: Number of rows of the sample table.
        classes: Number of classes.
        cache: The cache directory, where everything was written.
        vanished: Anomalous masks that vanish at the size, by class.
    """

    root: Path
    samples: int
    classes: int
    cache: Path
    vanished: dict[str, int]


def prepare(
    name: str,
    root: Path | str | None = None,
    *,
    size: int | tuple[int, int] = 256,
    progress: Progress | None = None,
    **options: Any,
) -> Prepared:
    """Index a dataset and decode it into the cache for runs at ``size``; COCO-AD's lists and masks are generated.

    Nothing is written below the root, so it may be read-only. A killed call is resumed by the next one.

    Args:
        name: Registered name.
        root: Its directory; ``None`` looks where :func:`find_root` does.
        size: Image size of the later runs, side or ``(H, W)``.
        progress: Called as ``progress(done, total, what)``.
        options: Options of the dataset.

    Raises:
        UserError: The dataset is not found or has a fault, or the cache can't be written.
    """
    dataset = get(name, find_root(name, root), **options)
    refuse(dataset)
    if name == "coco_ad" and dataset.found.layout.name == "owner":  # type: ignore[attr-defined]
        from diadbench.datasets.sets.coco_masks import make

        report = progress
        drawing = None if report is None else (lambda done, total, what: report(done, total, what or "drawing masks"))
        make(dataset.root / dataset.found.base, drawing)  # type: ignore[attr-defined]
    module = DataModule(dataset, size, progress=progress)
    module.prepare()
    return Prepared(dataset.root, len(dataset.samples), len(dataset.classes), module.cache, module.vanished)
