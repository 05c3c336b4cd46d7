"""Find images that are there twice: trained on and tested, tested twice, normal and anomalous, in two formats."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from diadbench.common.errors import UserError
from diadbench.common.wording import counted
from diadbench.datasets.base import Dataset
from diadbench.datasets.facts.counts import Counts, published
from diadbench.datasets.findings import CheckReport
from diadbench.datasets.table import count


def leaks(
    table: pd.DataFrame, digests: Sequence[str | None], parts: Sequence[Sequence[str]]
) -> Iterator[tuple[str, str]]:
    """Yield ``(test image, training image)`` with equal contents, within each group of classes that trains together.

    Args:
        table: Sample table.
        digests: Digest of each row's image; ``None`` for an unreadable image.
        parts: Classes of each group, see :meth:`Dataset.groups`.
    """
    known = table.assign(digest=pd.Series(list(digests), index=table.index, dtype="object"))
    known = known[known["digest"].notna()]
    for classes in parts:
        rows = known[known["class"].isin(list(classes))]
        train = rows[rows["split"] == "train"].drop_duplicates("digest").set_index("digest")["image"]
        test = rows[(rows["split"] == "test") & rows["digest"].isin(train.index)]
        for image, digest in zip(test["image"], test["digest"]):
            yield str(image), str(train[digest])


def as_published(name: str, table: pd.DataFrame) -> bool:
    """Whether each class has as many images as a published variant of the set says."""
    numbers = count(table)
    found = {str(cls): Counts(*map(int, row)) for cls, row in zip(numbers.index, numbers.to_numpy())}
    return any(all(counts.get(cls) == row for cls, row in found.items()) for _, counts in published(name))


def check_twins(dataset: Dataset, table: pd.DataFrame, report: CheckReport) -> None:
    """Add a finding if images of a class lie beside others of the same name in another format: converted copies."""
    images = table.drop_duplicates(["class", "image"])
    stems = images["image"].map(lambda image: os.path.splitext(image)[0])
    twins = images[images.assign(stem=stems).duplicated(["class", "stem"], keep=False)]["image"].tolist()
    if twins:
        text = counted(
            len(twins),
            "image lies beside one of the same name in another format",
            "images lie beside ones of the same names in other formats",
        )
        advice = "where they are converted copies, remove one of each: both count"
        report.add("warning", "duplicate", text, dataset.root / twins[0], advice, note=text)


def check_duplicates(
    dataset: Dataset, table: pd.DataFrame, report: CheckReport, digests: Mapping[str, str | None]
) -> None:
    """Add a finding for each image with the same content as another one that is trained or tested together with it.

    Args:
        dataset: The dataset, which decides what is trained together.
        table: Sample table.
        report: Gets the findings.
        digests: Digest of each image, by its path in the table; ``None`` where it can't be read.
    """
    known = table.assign(digest=table["image"].map(dict(digests)))
    known = known[known["digest"].notna()]
    tested = int((table["split"] == "test").sum())
    official = as_published(dataset.info.name, table)
    for classes in _groups(dataset, table):
        rows = known[known["class"].isin(classes)]
        for image, train in leaks(rows, rows["digest"].tolist(), [classes]):
            report.add(
                "warning",
                "duplicate",
                f"the same image as the training image {train}",
                dataset.root / image,
                "so in the set as it was published"
                if official
                else "a test image must not be trained on: remove one; tables say so",
                note=f"{{n}} of {tested:,} test images is also a training image"
                f"|{{n}} of {tested:,} test images are also training images",
            )
        for split in ("train", "test"):
            one = rows[rows["split"] == split]
            twice = one[one.duplicated("digest", keep="first") & ~one.duplicated("image", keep="first")]
            firsts = one.drop_duplicates("digest").set_index("digest")["image"]
            kind = "training" if split == "train" else "test"
            for image, digest in twice[["image", "digest"]].itertuples(index=False):
                report.add(
                    "warning",
                    "duplicate",
                    f"the same {split} image as {firsts[digest]}",
                    dataset.root / image,
                    note=f"{{n}} {kind} image is a copy of another|{{n}} {kind} images are copies of others",
                )
        _check_labels(dataset, rows[rows["split"] == "test"], report)


def _check_labels(dataset: Dataset, test: pd.DataFrame, report: CheckReport) -> None:
    """Add a finding for each test image that is tested as normal and, there or as a copy, as anomalous."""
    normal = test[test["label"] == 0].drop_duplicates("digest").set_index("digest")["image"]
    bad = test[(test["label"] == 1) & test["digest"].isin(normal.index)]
    for image, digest in bad[["image", "digest"]].itertuples(index=False):
        report.add(
            "warning",
            "duplicate",
            f"an anomalous test image, and the same as the normal one {normal[digest]}: one of the labels is wrong",
            dataset.root / image,
            "remove one",
            note="{n} test image counts as normal and as anomalous|{n} test images count as normal and as anomalous",
        )


def _groups(dataset: Dataset, table: pd.DataFrame) -> list[tuple[str, ...]]:
    try:
        return [part.classes for part in dataset.groups()]
    except UserError:  # The table is broken, which is reported already.
        return [tuple(table["class"].unique())]
