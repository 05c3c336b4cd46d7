"""Findings on images that are not read as they stand: transparent ones, other colour spaces, turned ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from diadbench.common.wording import counted
from diadbench.datasets.base import Dataset
from diadbench.datasets.findings import CheckReport

#: Trait of an image outside any dataset whose values use far fewer bits than the images of the model.
DARK = "dark"


class Told(NamedTuple):
    """What is told of images with a trait: the kind of finding, its texts for one and for more images, and advice."""

    kind: str
    texts: tuple[str, str]
    advice: str


def _space(name: str) -> Told:
    text = f"is {name}, converted to RGB without a colour profile"
    return Told(
        "colour-space",
        (f"image {text}", f"images {text.replace('is ', 'are ', 1)}"),
        "colours may differ from those of the other images; convert all images alike",
    )


_TOLD = {
    "alpha": Told(
        "alpha",
        (
            "image has transparent pixels: its alpha channel is dropped",
            "images have transparent pixels: their alpha channels are dropped",
        ),
        "what an editor hides is seen by the methods; paste such images onto one background where that isn't meant",
    ),
    "cmyk": _space("CMYK"),
    "lab": _space("Lab"),
    DARK: Told(
        "mixed-depths",
        (
            "16-bit image lies below a quarter of the range that the model's images use, and is read dark",
            "16-bit images lie below a quarter of the range that the model's images use, and are read dark",
        ),
        "scale them to that range",
    ),
}
#: A side this many times as long or as short as the median of its class is told.
_FAR = 8
#: Datasets of photos from everywhere, of which some are grey as published.
_PHOTOS = ("coco_ad",)


def check_pixels(dataset: Dataset, table: pd.DataFrame, report: CheckReport, traits: Mapping[str, str]) -> None:
    """Add a finding for each kind of image that is not read as it stands.

    Args:
        dataset: The dataset that the paths belong to.
        table: Sample table.
        report: Gets the findings.
        traits: Traits (:func:`~diadbench.datasets.decoding.deep_pixels.traits_of`) of the images and masks that have
            some, by their paths in the table.
    """
    if not any(traits.values()):
        return
    images = list(dict.fromkeys(table["image"]))
    for trait, told in _TOLD.items():
        _tell(dataset, report, told.kind, _having(trait, images, traits), told.texts, told.advice)
    _check_turned(dataset, table, report, traits)
    _check_grey(dataset, table, report, traits)


def check_sizes(
    dataset: Dataset, table: pd.DataFrame, report: CheckReport, sizes: Mapping[str, tuple[int, int]]
) -> None:
    """Add a finding if a side of some images is far from those of their class: a placeholder, or a strip.

    Args:
        dataset: The dataset that the paths belong to.
        table: Sample table.
        report: Gets the finding.
        sizes: Native ``(H,W)`` of the images that can be read, by their paths in the table.
    """
    odd: list[str] = []
    for _, paths in table.groupby("class", sort=False)["image"]:
        there = [path for path in paths if path in sizes]
        if not there:
            continue
        sides = np.array([sizes[path] for path in there], dtype=np.float64)
        far = np.abs(np.log(sides / np.median(sides, axis=0))).max(axis=1) > np.log(_FAR)
        odd += [there[i] for i in np.flatnonzero(far)]
    if odd:
        height, width = sizes[odd[0]]
        text = counted(len(odd), "image has a size far from its class's", "images have sizes far from their classes'")
        where, advice = dataset.root / odd[0], "look at it: a placeholder, or part of an image?"
        report.add("warning", "odd-size", f"{text} ({width}x{height})", where, advice, note=text)


def trait_notes(traits: Iterable[str]) -> list[str]:
    """Return notes on the traits of images that belong to no dataset: those of :func:`check_pixels` on one image each.

    Args:
        traits: Traits of each image (:func:`~diadbench.datasets.decoding.deep_pixels.traits_of`).
    """
    counts = Counter(trait for one in traits for trait in one.split())
    return [counted(counts[trait], *told.texts) for trait, told in _TOLD.items() if counts[trait]]


def _having(trait: str, paths: Iterable[str], traits: Mapping[str, str]) -> list[str]:
    return [path for path in paths if trait in traits.get(path, "").split()]


def _tell(
    dataset: Dataset, report: CheckReport, kind: str, paths: list[str], texts: tuple[str, str], advice: str
) -> None:
    """Add one finding for all images of a kind, because there may be thousands; ``texts`` are for one and for more."""
    if paths:
        text = counted(len(paths), *texts)
        report.add("warning", kind, text, dataset.root / paths[0], advice, note=text)


def _check_turned(dataset: Dataset, table: pd.DataFrame, report: CheckReport, traits: Mapping[str, str]) -> None:
    """Tell of images that EXIF turns while their masks say nothing: an annotation program may have ignored it."""
    bad = table[(table["label"] == 1) & (table["mask"] != "")] if "mask" in table.columns else table.iloc[:0]
    masks = dict(zip(bad["image"], bad["mask"], strict=True))
    turned = [path for path in _having("turned", masks, traits) if not _having("turned", [masks[path]], traits)]
    _tell(
        dataset,
        report,
        "turned",
        turned,
        (
            "image is turned by its EXIF orientation, its mask is not",
            "images are turned by their EXIF orientation, their masks are not",
        ),
        "look whether the masks fit: some programs draw on the image as it is stored; save the images turned",
    )


def _check_grey(dataset: Dataset, table: pd.DataFrame, report: CheckReport, traits: Mapping[str, str]) -> None:
    """Tell of classes with grey and with colour files, which a method can distinguish by that alone."""
    if dataset.info.name in _PHOTOS:
        return
    for name, paths in table.groupby("class", sort=False)["image"]:
        grey = _having("grey", paths, traits)
        if grey and len(grey) < len(paths):
            report.add(
                "warning",
                "mixed-colours",
                f"class {name}: {len(grey):,} of {len(paths):,} images are grey, the others in colour",
                dataset.root / grey[0],
                "save all images of a class alike",
                note="{n} class has grey and colour images|{n} classes have grey and colour images",
            )
