"""Findings on implausible masks, each with its likely cause and advice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import pandas as pd

from diadbench.datasets.base import Dataset
from diadbench.datasets.decoding.masks import MaskFacts
from diadbench.datasets.findings import CheckReport

#: In a class with fewer masks than this, masks may be equal by chance.
_FEWEST = 3


class Cause(NamedTuple):
    """A likely cause: the observation, the advice, and the texts of a table for one and for several masks."""

    what: str
    advice: str
    note: str


_INVERT = "set masks.invert=true, or draw what is anomalous in white"
#: Likely causes by the name that :class:`diadbench.datasets.decoding.mask_signs.Signs` gives them.
MASK_CAUSES: dict[str, Cause] = {
    "white": Cause(
        "a mask of one value that covers the whole image: made without the defect, or exported as 'all'",
        "draw the defect, or set masks=false (dataset folder) for image metrics only",
        "{n} mask covers its whole image|{n} masks cover their whole images",
    ),
    "inverted": Cause(
        "a mask that covers more than half of its image and its edges: inverted (the background is white)",
        _INVERT,
        "{n} mask looks inverted|{n} masks look inverted",
    ),
    "background": Cause(
        "a mask whose background is not 0, so that the whole image counts as anomalous: background and defect have "
        "numbers, or an offset was added",
        "set masks.threshold to a value between the two, or save the background as 0",
        "{n} mask has a background that is not 0|{n} masks have a background that is not 0",
    ),
    "photo": Cause(
        "a mask with the values of a photo: the defect was drawn over the image, or the image was saved as its mask",
        "export the mask alone, in black and white",
        "{n} mask looks like a photo|{n} masks look like photos",
    ),
    "frame": Cause(
        "a mask whose four edges are anomalous: a frame, as plots and screenshots have it",
        "export the mask without its frame",
        "{n} mask has a frame|{n} masks have a frame",
    ),
    "alpha": Cause(
        "a mask of one colour whose alpha channel varies: the mask lies in the alpha channel, which isn't read",
        "save the alpha channel as the mask, in black and white",
        "{n} mask lies in an alpha channel that isn't read|{n} masks lie in alpha channels that aren't read",
    ),
    "colours": Cause(
        "a mask drawn in colours on a bright background, so that the whole image counts as anomalous",
        "save it in black and white: the background black, the defect white",
        "{n} mask is drawn in colours on a bright background|{n} masks are drawn in colours on bright backgrounds",
    ),
    "trimap": Cause(
        "a mask of three values (a trimap: defect, unsure, background), of which two count as anomalous",
        "set masks.threshold between the two that you mean, for example 192",
        "{n} mask has three values, a trimap|{n} masks have three values, trimaps",
    ),
    "wide": Cause(
        "a mask that covers more than half of its image: inverted, or a box around the object",
        "look at it; where the background is white, set masks.invert=true",
        "{n} mask covers more than half of its image|{n} masks cover more than half of their images",
    ),
}
#: Datasets whose masks number the kinds of defects by any value; those of VisA are small.
_ANY_NUMBERS = ("mvtec_loco",)
#: Datasets in which these are no faults: an object, or a lesion, may cover most of an image; an object its border too.
_NO_FAULT = {"wide": ("coco_ad", "unimedical"), "inverted": ("coco_ad",), "trimap": _ANY_NUMBERS}
_CUTS: dict[str, Cause] = {
    "jpeg": Cause(
        "masks are JPEG files, whose compression blurs values: thresholded at half",
        "save masks as PNG; masks.threshold sets another value",
        "{n} mask is a JPEG file, thresholded at half|{n} masks are JPEG files, thresholded at half",
    ),
    "webp": Cause(
        "masks are lossy WebP files, whose compression blurs values: thresholded at half",
        "save masks as PNG; masks.threshold sets another value",
        "{n} mask is a lossy WebP file, thresholded at half|{n} masks are lossy WebP files, thresholded at half",
    ),
    "resized": Cause(
        "masks with grey values: made by an interpolating resize or from a JPEG file; thresholded at half",
        "take the owner's archive of that size, or resize masks by nearest neighbour; masks.threshold sets another "
        "value",
        "{n} mask has grey values, thresholded at half|{n} masks have grey values, thresholded at half",
    ),
}
_GREY = Cause(
    "masks with more than two values: numbers of kinds of defects? Whatever is not 0 counts as anomalous",
    "where some values aren't meant so, set masks.threshold, or save masks with two values",
    "{n} mask has grey values|{n} masks have grey values",
)


def check_signs(dataset: Dataset, table: pd.DataFrame, report: CheckReport, masks: Mapping[str, MaskFacts]) -> None:
    """Add findings on implausible masks, and on masks that were thresholded at half.

    Args:
        dataset: The dataset with its options.
        table: Sample table.
        report: Gets the findings.
        masks: Facts of each mask, by its path in the table.
    """
    if dataset.masks_made_whole:
        return  # a flag of the dataset says so
    shown = {path: facts for path in dict.fromkeys(table["mask"]) if (facts := masks.get(path)) is not None}
    for path, facts in shown.items():
        cause = facts.signs.cause
        if not cause or dataset.info.name in _NO_FAULT.get(cause, ()):
            continue
        found = MASK_CAUSES[cause]
        report.add("warning", "odd-mask", found.what, dataset.mask_root / path, found.advice, note=found.note)
    for cut, found in _CUTS.items():
        _tell_all(dataset, report, [path for path, facts in shown.items() if facts.signs.cut == cut], found)
    grey = [path for path, facts in shown.items() if _is_grey(facts)]
    _tell_all(dataset, report, [] if dataset.reading.valued else grey, _GREY)
    _check_equal(dataset, table, report, shown)


def _is_grey(facts: MaskFacts) -> bool:
    return facts.signs.grey and not facts.signs.cut and not facts.signs.cause


def _tell_all(dataset: Dataset, report: CheckReport, paths: list[str], cause: Cause) -> None:
    """Add one finding for all masks of a kind, because there may be thousands."""
    if not paths:
        return
    one, _, many = cause.note.partition("|")
    note = (one if len(paths) == 1 else many).replace("{n}", f"{len(paths):,}")
    text = f"{len(paths):,} {cause.what}"
    report.add("warning", "grey-mask", text, dataset.mask_root / paths[0], cause.advice, note=note)


def _check_equal(dataset: Dataset, table: pd.DataFrame, report: CheckReport, masks: Mapping[str, MaskFacts]) -> None:
    bad = table[(table["split"] == "test") & (table["label"] == 1) & (table["mask"] != "")]
    for name, paths in bad.groupby("class", sort=False)["mask"]:
        if not _are_equal(paths, masks):
            continue
        report.add(
            "warning",
            "equal-masks",
            f"class {name}: all {len(paths)} masks are equal: one file copied, or a box instead of the defects",
            dataset.mask_root / str(paths.iloc[0]),
            "get the masks again",
            note="{n} class has equal masks for all images|{n} classes have equal masks for all images",
        )


def _are_equal(paths: Iterable[str], masks: Mapping[str, MaskFacts]) -> bool:
    found = [masks.get(path) for path in paths]
    digests = {facts.signs.digest for facts in found if facts is not None and facts.positive}
    return len(found) >= _FEWEST and all(facts is not None and facts.positive for facts in found) and len(digests) == 1
