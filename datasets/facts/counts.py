"""Published numbers of images, which a complete download must have. The table is ``dataset_counts.csv``."""

from __future__ import annotations

import csv
import functools
import importlib.resources
from dataclasses import dataclass

#: Titles in the table: the authoritative one, then known variants.
_TITLES: dict[str, tuple[str, ...]] = {
    "mvtec": ("MVTec AD", "MVTec AD (DiAD json, 1 train image short)"),
    "visa": ("VisA (1cls)",),
    "realiad": ("Real-IAD (multi-view, images)",),
    "unimedical": ("Uni-Medical",),
    "coco_ad": ("COCO-AD",),
    "mvtec3d": ("MVTec 3D", "MVTec 3D (ADer: train+validation)"),
    "btad": ("BTAD",),
    "mpdd": ("MPDD",),
    "mvtec_loco": ("MVTec LOCO",),
    "mvtec_ad_2": ("MVTec AD 2",),
    "kolektorsdd": ("KolektorSDD (four in five normal images trained on)",),
    "kolektorsdd2": ("KolektorSDD2",),
    "dagm": ("DAGM",),
    "3cad": ("3CAD",),
}


@dataclass(frozen=True)
class Counts:
    """Numbers of images of a class: training, normal test, anomalous test."""

    train: int
    good: int
    bad: int

    @property
    def total(self) -> int:
        """Return the number of all images."""
        return self.train + self.good + self.bad


def published(name: str) -> list[tuple[str, dict[str, Counts]]]:
    """Return ``(title, {class: counts})`` of a dataset, then of its known variants; empty for an unknown dataset."""
    return [(title, _table()[title]) for title in _TITLES.get(name, ()) if title in _table()]


def real_iad_counts(cls: str) -> tuple[int, int, int, int]:
    """Return Real-IAD's numbers of a class: training, normal and anomalous test samples, anomalous test images."""
    samples = _table()["Real-IAD (multi-view, 5-image samples)"][cls]
    return samples.train, samples.good, samples.bad, _table()["Real-IAD (multi-view, images)"][cls].bad


def mvtec_ad_2_unlabelled(cls: str, split: str) -> int:
    """Return the number of ``validation``, ``test_private`` or ``test_private_mixed`` images of an MVTec AD 2 class."""
    return _table()[f"MVTec AD 2 ({split})"][cls].total


@functools.cache
def _table() -> dict[str, dict[str, Counts]]:
    text = (importlib.resources.files("diadbench.datasets.facts") / "dataset_counts.csv").read_text(encoding="utf-8")
    found: dict[str, dict[str, Counts]] = {}
    for row in csv.DictReader(text.splitlines()):
        if row["class"] != "ALL":
            counts = Counts(int(row["train"]), int(row["test_good"]), int(row["test_bad"]))
            cls = row["class"].replace("split ", "split")  # COCO-AD: "split 0" is the class split0
            found.setdefault(row["dataset"], {})[cls] = counts
    return found
