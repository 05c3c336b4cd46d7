"""Check a dataset on disk: its structure, its counts, every file, and the other files in its folders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from diadbench.common.errors import Skip, UserError, told_of_files
from diadbench.common.wording import counted
from diadbench.datasets.base import SAMPLE_MARKER, Dataset
from diadbench.datasets.checking.check_extras import check_extras
from diadbench.datasets.checking.check_files import check_depth, check_duplicates, check_files, check_masks
from diadbench.datasets.checking.leaks import check_twins
from diadbench.datasets.checking.pixel_findings import check_pixels, check_sizes
from diadbench.datasets.decoding.masks import MaskFacts
from diadbench.datasets.decoding.workers import Progress
from diadbench.datasets.facts.counts import Counts, published
from diadbench.datasets.findings import CheckReport
from diadbench.datasets.layouts.roots import find_root
from diadbench.datasets.lookup import get
from diadbench.datasets.table import count

#: A dataset with a smaller share of the published images counts as a reduced copy, not as a broken download.
CUT_DOWN = 0.5
#: Datasets whose published counts have not been confirmed.
_UNCONFIRMED = ("btad",)


def check(
    name: str,
    root: Path | str | None = None,
    *,
    size: int | tuple[int, int] = 256,
    progress: Progress | None = None,
    workers: int | None = None,
    **options: Any,
) -> CheckReport:
    """Check a dataset. Every file is opened once; all cores are used.

    Args:
        name: Registered name.
        root: Its directory; ``None`` looks where :func:`find_root` does.
        size: Evaluation size, side or ``(H, W)``: masks that vanish at it are counted.
        progress: Called while files are opened.
        workers: Threads; ``None`` is one for each core.
        options: Options of the dataset.

    Returns:
        The report, which states the faults of the data.

    Raises:
        UserError: Unknown dataset or option, or nobody has said where the dataset lies.
    """
    dataset = get(name, find_root(name, root), **options)
    report = CheckReport(name, dataset.info.title, str(dataset.root))
    try:
        with told_of_files():
            table = dataset.index()
        report.source = dataset.source
        report.layout = getattr(getattr(getattr(dataset, "found", None), "layout", None), "name", "")
    except Skip:
        raise
    except UserError as error:
        report.add("error", "structure", str(error), note="")  # A run refuses it.
        return report
    whole = _whole(dataset, table, report)
    if whole is None:
        return report
    table = whole
    check_table(dataset, table, report)
    _check_unread(dataset, report)
    side = (size, size) if isinstance(size, int) else size
    check_files(dataset, table, report, side, progress, workers)
    check_extras(dataset, table, report)
    if report.ok:
        dataset.own_checks(report)
    return report


def check_table(dataset: Dataset, table: pd.DataFrame, report: CheckReport) -> None:
    """Add findings on the sample table alone: numbers of images, classes, views. Opens no file."""
    _check_counts(dataset, table, report)
    _check_classes(table, report)
    _check_views(table, report)
    check_twins(dataset, table, report)


def data_notes(
    dataset: Dataset,
    digests: Mapping[str, str | None],
    masks: Mapping[str, MaskFacts],
    size: tuple[int, int],
    bits: Mapping[int, int],
    traits: Mapping[str, str],
    sizes: Mapping[str, tuple[int, int]],
) -> tuple[str, ...]:
    """Return the notes on a dataset's files for tables: those of the findings of :func:`check`.

    Args:
        dataset: The dataset; its sample table is valid.
        digests: Digest of each image's file, by its path in the table.
        masks: Facts of each mask, by its path in the table.
        size: Evaluation size ``(H, W)``.
        bits: Number of images by the bits that the greatest value of each needs; only images of 16-bit files.
        traits: Traits of the images and masks that have some, by their paths in the table.
        sizes: Native ``(H,W)`` of each image, by its path in the table.
    """
    report = CheckReport(dataset.info.name, dataset.info.title, str(dataset.root))
    check_depth(dataset, report, bits)
    check_pixels(dataset, dataset.samples, report, traits)
    check_sizes(dataset, dataset.samples, report, sizes)
    check_table(dataset, dataset.samples, report)
    check_masks(dataset, dataset.samples, report, masks, size)
    check_duplicates(dataset, dataset.samples, report, digests)
    return report.notes()


def _whole(dataset: Dataset, table: pd.DataFrame, report: CheckReport) -> pd.DataFrame | None:
    """Return the checked table. A broken rule becomes a finding, and files are checked nevertheless."""
    try:
        return dataset.checked(table)
    except UserError as error:
        report.add("error", "table", str(error), note="")  # A run refuses it.
    try:
        whole = table[table["class"].isin(dataset.wanted or table["class"].unique())]
        return whole.drop_duplicates(["class", "split", "image"]).reset_index(drop=True)
    except (KeyError, TypeError):
        return None


def refuse(dataset: Dataset) -> None:
    """Refuse a dataset whose table has errors in :func:`check`, so that a run and ``prepare`` agree with the check.

    Faults of files are found when the files are opened.

    Raises:
        UserError: The table is wrong, or images of a published set are missing.
    """
    report = CheckReport(dataset.info.name, dataset.info.title, "")
    _check_counts(dataset, dataset.samples, report)
    wrong = report.of("error")
    if wrong:
        more = f" (and {len(wrong) - 1} more; `diadbench datasets check` lists them)" if len(wrong) > 1 else ""
        raise UserError(f"dataset {dataset.info.name!r}: {wrong[0].what}; {wrong[0].advice}{more}")


def _check_unread(dataset: Dataset, report: CheckReport) -> None:
    if report.ok:
        for line in dataset.unread:
            report.add("warning", "unread", line, advice="move it, mend it, or name it by an option", note="")


def _check_counts(dataset: Dataset, table: pd.DataFrame, report: CheckReport) -> None:
    counted = count(table)
    found = {str(name): Counts(*map(int, row)) for name, row in zip(counted.index, counted.to_numpy())}
    report.counts = {
        name: {"train": row.train, "test_good": row.good, "test_bad": row.bad} for name, row in found.items()
    }
    known = published(dataset.info.name)
    if not known:
        return
    if (dataset.root / SAMPLE_MARKER).is_file():
        text = "a synthetic sample: not compared with the published counts"
        report.add("note", "counts", text, note="")  # a flag of the dataset says so
        return
    if not dataset.has_published_split:
        report.add("note", "counts", "another split than the published one: counts not compared", note="")  # a flag
        return
    missing = [name for name in dataset.info.classes if name not in found]
    if missing:
        report.add(
            "warning",
            "classes",
            f"{len(found)} of {len(dataset.info.classes)} classes; missing: {', '.join(missing)}",
            advice="tables over fewer classes are not comparable with published ones",
            note="",  # a flag of the dataset says so
        )
    exact = [title for title, counts in known if all(counts.get(name) == row for name, row in found.items())]
    if exact:
        if exact[0] != known[0][0]:
            report.add("note", "counts", f"counts equal a known variant: {exact[0]}", note="")  # a flag
        return
    _compare(dataset, found, known[0][1], report)


def _compare(dataset: Dataset, found: dict[str, Counts], expected: dict[str, Counts], report: CheckReport) -> None:
    listed = getattr(getattr(dataset, "found", None), "lists", None) is not None
    both = {cls: (row, expected[cls]) for cls, row in found.items() if cls in expected}
    here, there = sum(row.total for row, _ in both.values()), sum(row.total for _, row in both.values())
    if here < CUT_DOWN * there:
        report.add(
            "warning",
            "counts",
            f"{here:,} of {there:,} published images: a cut-down copy",
            advice="its figures can't be compared with published ones",
            note=f"copy cut down: {here:,} of {there:,} published images",
        )
        return
    for cls, (row, right) in both.items():
        if row != right:
            report.add(
                "warning" if listed or dataset.info.name in _UNCONFIRMED else "error",
                "counts",
                f"{cls}: {row.train:,} training, {row.good:,} normal and {row.bad:,} anomalous test images; "
                f"published: {right.train:,}, {right.good:,}, {right.bad:,}",
                advice="as the list has it: its figures can't be compared with published ones"
                if listed
                else "unpack or download the class again, leave it out by `classes`, or list the images that you mean",
                note="{n} class has another number of images than published"
                "|{n} classes have other numbers of images than published",
            )


def _check_classes(table: pd.DataFrame, report: CheckReport) -> None:
    test = table[table["split"] == "test"]
    for name, labels in test.groupby("class", sort=False)["label"]:
        if labels.nunique() < 2:
            kind = "anomalous" if (labels == 0).all() else "normal"
            report.add(
                "warning",
                "one-sided-class",
                f"class {name} has no {kind} test images",
                advice="its AU-ROC and AP are undefined and are left out of the mean",
                note=f"{{n}} class has no {kind} test images|{{n}} classes have no {kind} test images",
            )


def _check_views(table: pd.DataFrame, report: CheckReport) -> None:
    viewed = table[table["view"] != ""] if "view" in table.columns else table.iloc[:0]
    if viewed.empty:
        return
    views = sorted(viewed["view"].unique())
    numbers = viewed.groupby("sample_id", sort=False)["view"].nunique()
    short = numbers[numbers != len(views)]
    hidden = viewed[(viewed["label"] == 0) & viewed["image"].str.contains("/NG/", regex=False)]
    report.add("note", "views", f"{counted(len(numbers), 'sample')} seen from {', '.join(views)}", note="")
    if len(hidden):
        text = (
            f"{counted(len(hidden), 'normal view lies', 'normal views lie')} in NG folders: no defect is visible there"
        )
        report.add("note", "views", text, note="")  # as published
    for sample in short.index:
        text, advice = f"{short[sample]} of {len(views)} views", "download the class again"
        report.add("warning", "views", text, sample, advice, note="{n} sample lacks views|{n} samples lack views")
