"""Open every file of a data set: what can't be decoded, sizes, empty and vanishing masks, equal files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from diadbench.common.errors import UserError
from diadbench.datasets.base import Dataset
from diadbench.datasets.decoding.fingerprint import digest_of
from diadbench.datasets.decoding.images import decode_image, inside, read_bytes, read_mask_values
from diadbench.datasets.decoding.leaks import as_published, leaks
from diadbench.datasets.decoding.masks import RULES, resize_mask
from diadbench.datasets.decoding.workers import Problems, Progress, cores, run_all
from diadbench.datasets.findings import CheckReport

#: Sets whose mask values say which defect it is; elsewhere a mask is 0/255.
_VALUED = ("visa", "mvtec_loco")


@dataclass(frozen=True)
class ImageFacts:
    """Of an image: ``(H, W)``, the digest of its file."""

    size: tuple[int, int]
    digest: str


@dataclass(frozen=True)
class MaskFacts:
    """Of a mask: ``(H, W)``, number of positive pixels, how many of them are no maximum, rules that empty it."""

    size: tuple[int, int]
    positive: int
    between: int
    vanishes: tuple[str, ...]


def check_files(
    dataset: Dataset,
    table: pd.DataFrame,
    report: CheckReport,
    size: tuple[int, int],
    progress: Progress | None = None,
    workers: int | None = None,
) -> None:
    """Open every image, mask and scan of the table; add findings to the report.

    Args:
        dataset: Where the paths lie.
        table: Sample table.
        report: Gets the findings, the numbers of files and of vanished masks.
        size: Evaluation size ``(H, W)``.
        progress: Called while files are opened.
        workers: Threads; ``None`` is one for each core.
    """
    images: dict[str, ImageFacts] = {}
    masks: dict[str, MaskFacts] = {}

    def image(relative: str) -> None:
        path = inside(dataset.root, relative)
        content = read_bytes(path)
        height, width = decode_image(content, path).shape[:2]
        images[relative] = ImageFacts((height, width), digest_of(content))

    def mask(relative: str) -> None:
        masks[relative] = mask_facts(inside(dataset.mask_root, relative), size)

    def scan(relative: str) -> None:
        read_scan(inside(dataset.root, relative))

    tasks: list[tuple[Callable[[str], None], str]] = [(image, path) for path in table["image"].unique()]
    if "mask" in table.columns:
        tasks += [(mask, path) for path in table["mask"].unique() if path]
    if "xyz" in table.columns:
        tasks += [(scan, path) for path in table["xyz"].unique() if path]
    problems = Problems()
    run_all(lambda i: tasks[i][0](tasks[i][1]), len(tasks), workers or cores(), problems, progress)
    report.files = len(tasks)
    for message in sorted(problems.messages):
        report.add("error", "file", message)
    if "mask" in table.columns:
        _check_masks(dataset, table, report, images, masks, size)
    _check_duplicates(dataset, table, report, images)


def mask_facts(path: Path, size: tuple[int, int]) -> MaskFacts:
    """Read a mask and say what is to know about it. Raises UserError when it can't be read."""
    values = read_mask_values(path)
    positive = int(np.count_nonzero(values))
    between = positive - int(np.count_nonzero(values == values.max())) if positive else 0
    gone = tuple(rule for rule in RULES if positive and not resize_mask(values, size, rule).any())
    return MaskFacts((values.shape[0], values.shape[1]), positive, between, gone)


def read_scan(path: Path) -> None:
    """Read an xyz scan. Raises UserError when it isn't three channels of numbers."""
    import tifffile

    content = read_bytes(path)
    try:
        import io

        shape = tifffile.imread(io.BytesIO(content)).shape
    except Exception as error:  # tifffile raises nearly anything on a broken file
        raise UserError(f"{path}: damaged TIFF ({error}); get it again") from error
    if len(shape) != 3 or 3 not in (shape[0], shape[2]):
        raise UserError(f"{path}: shape {shape}; expected three channels x, y, z")


def _check_masks(
    dataset: Dataset,
    table: pd.DataFrame,
    report: CheckReport,
    images: dict[str, ImageFacts],
    masks: dict[str, MaskFacts],
    size: tuple[int, int],
) -> None:
    vanished: dict[str, list[str]] = {rule: [] for rule in RULES}
    between: list[str] = []
    for image, mask, label in table[["image", "mask", "label"]].itertuples(index=False):
        facts = masks.get(mask)
        if facts is None:
            continue
        path = str(dataset.mask_root / mask)
        if image in images and images[image].size != facts.size:
            found, expected = _wide(facts.size), _wide(images[image].size)
            report.add("error", "mask-size", f"mask of {found} for an image of {expected}", path, "get the pair again")
        if label == 1 and not facts.positive:
            report.add(
                "warning",
                "empty-mask",
                "the mask of an anomalous image has no positive pixel",
                path,
                "get it again; as it is, its pixels count as normal and its image as anomalous, and tables say so",
            )
        if label == 0 and facts.positive:
            report.add("error", "mask-label", "a mask with anomalous pixels for a normal image", path)
        for rule in facts.vanishes:
            vanished[rule].append(path)
        if facts.between and dataset.info.name not in _VALUED:
            between.append(path)
    report.vanished = {rule: len(paths) for rule, paths in vanished.items()}
    gone = {rule: paths for rule, paths in vanished.items() if paths}
    if gone:
        numbers = ", ".join(f"{len(paths)} by {rule}" for rule, paths in gone.items())
        report.add(
            "note",
            "vanished-mask",
            f"masks that vanish at {_wide(size)}: {numbers}; the image label stays the dataset's own, "
            "only the protocol `ader` takes the resized mask's",
            next(iter(gone.values()))[0],
        )
    if between:
        report.add(
            "warning",
            "grey-mask",
            f"{len(between)} masks with grey values: made by an interpolating resize, which widens them",
            between[0],
            "take the owner's archive of that size, or resize masks by nearest neighbour",
        )


def _check_duplicates(
    dataset: Dataset, table: pd.DataFrame, report: CheckReport, images: dict[str, ImageFacts]
) -> None:
    digests = table["image"].map({path: facts.digest for path, facts in images.items()})
    known = table.assign(digest=digests)[digests.notna()]
    official = as_published(dataset.info.name, table)
    parts = [part.classes for part in dataset.groups()] if report.ok else [tuple(table["class"].unique())]
    for classes in parts:
        rows = known[known["class"].isin(classes)]
        for image, train in leaks(rows, rows["digest"].tolist(), [classes]):
            report.add(
                "warning" if official else "error",
                "duplicate",
                f"the same image as the training image {train}",
                dataset.root / image,
                "so in the set as it was published" if official else "a test image must not be trained on: remove one",
            )
        for split in ("train", "test"):
            one = rows[rows["split"] == split]
            twice = one[one.duplicated("digest", keep="first") & ~one.duplicated("image", keep="first")]
            firsts = one.drop_duplicates("digest").set_index("digest")["image"]
            for image, digest in twice[["image", "digest"]].itertuples(index=False):
                report.add("warning", "duplicate", f"the same {split} image as {firsts[digest]}", dataset.root / image)


def _wide(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"
