"""Test images and maps kept by cells, and the rule that selects those for a report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from diadbench.benchmark.records.store import CellRecord, own_file
from diadbench.common.errors import unknown_name
from diadbench.common.half import from_half
from diadbench.reports.tables.source import Source

Array = npt.NDArray[Any]
#: number of methods (the first of the grid) whose ranks decide which image is best, median or worst
JUDGES = 8
#: words that select an image of a class by rule
WHY = ("best", "median", "worst")


@dataclass(frozen=True)
class Picture:
    """A test image of one cell.

    Attributes:
        row: Row of the image in the test table; cells of the same data have the same image at the same row.
        score: Image score of the method.
        image: uint8 (H, W, 3).
        mask: bool (H, W), or None.
        heat: float32 (H, W), the anomaly map as the method predicted it, or None.
    """

    row: int
    kind: str
    defect: str
    label: int
    score: float
    name: str
    file: Path

    def _array(self, key: str) -> Array | None:
        with own_file(self.file), np.load(self.file, allow_pickle=False) as arrays:  # reads only this member
            return arrays[key] if key in arrays.files else None

    @cached_property
    def image(self) -> Array:
        """Return the test image, uint8 (H, W, 3)."""
        found = self._array("image")
        return np.zeros((8, 8, 3), np.uint8) if found is None else found

    @cached_property
    def mask(self) -> Array | None:
        """Return the true mask, bool (H, W), or None."""
        return self._array("mask")

    def maps(self) -> tuple[Array | None, Array | None]:
        """Return ``heat`` and the method's reconstruction, uint8 (H, W, 3); None for missing ones."""
        with own_file(self.file), np.load(self.file, allow_pickle=False) as arrays:
            return _heat(arrays), arrays["reconstruction"] if "reconstruction" in arrays.files else None

    @property
    def heat(self) -> Array | None:
        """Return the anomaly map, float32 (H, W), or None."""
        with own_file(self.file), np.load(self.file, allow_pickle=False) as arrays:
            return _heat(arrays)


def _heat(arrays: Any) -> Array | None:
    """Return the map of a picture, float32 (H, W), or None. Earlier versions kept it without its limits."""
    if "map" not in arrays.files:
        return None
    if "map_limits" in arrays.files:
        return from_half(arrays["map"], arrays["map_limits"])
    return np.asarray(arrays["map"], dtype=np.float32)


def pictures(cell: CellRecord) -> list[Picture]:
    """Return the pictures of a cell's gallery; unreadable entries are left out."""
    folder = cell.directory / "gallery"
    try:
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    found = []
    for entry in index:
        file = folder / f"{int(entry['row'])}.npz"
        if file.is_file():
            found.append(
                Picture(
                    int(entry["row"]),
                    str(entry.get("class", "")),
                    str(entry.get("defect", "")),
                    int(entry.get("label", 0)),
                    float(entry.get("score", float("nan"))),
                    str(entry.get("image", "")),
                    file,
                )
            )
    return found


def quality(picture: Picture) -> float:
    """Return how well a map fits its image: average precision of its pixels; without a mask, the signed score."""
    mask, heat = picture.mask, picture.heat
    if mask is not None and heat is not None and mask.any() and mask.shape == heat.shape:
        step = max(1, mask.shape[0] // 64)  # The selection of pictures needs no more precision.
        mask, heat = mask[::step, ::step], heat[::step, ::step]
        truth = mask.ravel()[np.argsort(-heat.ravel(), kind="stable")]
        hits = np.flatnonzero(truth)
        return float((np.arange(1, len(hits) + 1) / (hits + 1)).mean()) if len(hits) else 0.0
    return picture.score if picture.label else -picture.score


@dataclass(frozen=True)
class Choice:
    """An image for a report and the reason: ``best``, ``median`` or ``worst`` of its class, or ``""`` if requested."""

    kind: str
    why: str
    row: int


def gallery_of(source: Source, dataset: str) -> dict[str, list[Picture]]:
    """Return ``{method: pictures}`` of a dataset, each from the first seed that has a gallery."""
    found: dict[str, list[Picture]] = {}
    facts = source.facts
    chosen = facts[(facts["dataset"] == dataset) & (facts["state"] == "done")].sort_values("seed", kind="stable")
    for method, cell in zip(chosen["method"], chosen["cell"]):
        if method not in found:
            shown = pictures(cell)
            if shown:
                found[method] = shown
    return {method: found[method] for method in source.methods if method in found}


@lru_cache(maxsize=256)
def _limits(files: tuple[Path, ...]) -> tuple[float, float]:
    values = []
    for file in files:
        with own_file(file), np.load(file, allow_pickle=False) as arrays:
            heat = _heat(arrays)
        if heat is not None:
            values.append(heat[::2, ::2].ravel())
    sample = np.concatenate(values) if values else np.empty(0, np.float32)
    sample = sample[np.isfinite(sample)]
    if not len(sample):
        return 0.0, 1.0
    low, high = np.quantile(sample, [0.01, 0.999])
    return float(low), float(high if high > low else low + 1)


def choose(gallery: dict[str, list[Picture]], wanted: Sequence[str] = WHY) -> list[Choice]:
    """Select the best, median and worst image of each class by the mean rank over at most eight methods.

    Anomalous images come first; a class without any uses its normal ones. Only images that all methods kept are
    candidates, so that the selection is neither made by hand nor in favour of one method.

    Args:
        gallery: ``{method: pictures}``.
        wanted: Some of ``best``, ``median`` and ``worst``, and paths of images or their ends, which select them.
    """
    if not gallery:
        return []
    every = [{picture.row: picture for picture in shown} for shown in gallery.values()]
    common = sorted(set.intersection(*(set(part) for part in every)))
    rows = every[:JUDGES]
    kinds: dict[str, list[int]] = {}
    for row in common:
        kinds.setdefault(rows[0][row].kind, []).append(row)
    chosen = []
    for kind, members in kinds.items():
        chosen += _by_rank(kind, members, rows, wanted) if set(wanted) & set(WHY) else []
        asked = [row for row in members if any(named(rows[0][row], text) for text in wanted)]
        chosen += [Choice(kind, "", row) for row in asked]
    return chosen


def _by_rank(kind: str, members: list[int], rows: list[dict[int, Picture]], wanted: Sequence[str]) -> list[Choice]:
    """Return the requested ones of a class's best, median and worst image."""
    candidates = [row for row in members if rows[0][row].label] or members
    values = np.array([[quality(part[row]) for row in candidates] for part in rows])
    order = np.argsort(np.argsort(np.argsort(-values, axis=1, kind="stable"), axis=1).mean(axis=0), kind="stable")
    places = {(len(order) - 1) // 2: "median", 0: "best", len(order) - 1: "worst"}
    if len(order) == 1:
        places = {0: "only"}
    elif len(order) == 2 and "median" in wanted and "best" not in wanted:  # the better one is both
        places[0] = "median"
    return [
        Choice(kind, places[place], candidates[order[place]])
        for place in sorted(places)
        if places[place] in (*wanted, "only")
    ]


def named(picture: Picture, text: str) -> bool:
    """Return whether a text is the path of a picture's image, or an end of it consisting of whole names."""
    return text not in WHY and f"/{picture.name}".endswith(f"/{text.strip('/')}")


def check_images(source: Source) -> None:
    """Refuse images that no dataset has kept.

    Raises:
        UserError: One of ``show.images`` is neither ``best``, ``median``, ``worst`` nor a kept image.
    """
    asked = [text for text in source.show.images if text not in WHY]
    if not asked:
        return
    found = {
        picture.name: picture
        for dataset in source.datasets
        for shown in gallery_of(source, dataset).values()
        for picture in shown
    }
    for text in asked:
        if not any(named(picture, text) for picture in found.values()):
            raise unknown_name("image (best, median, worst, or one that the cells keep)", text, found, where="images")


def scale(shown: list[Picture]) -> tuple[float, float]:
    """Return the limits of a method's maps over at most 48 of its pictures: one scale for all images of a dataset."""
    return _limits(tuple(picture.file for picture in shown[:: -(-len(shown) // 48)]))
