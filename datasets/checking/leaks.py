"""Find test images that are also training images, by the contents of their files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from diadbench.datasets.facts.counts import Counts, published
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
    counted = count(table)
    found = {str(cls): Counts(*map(int, row)) for cls, row in zip(counted.index, counted.to_numpy())}
    return any(all(counts.get(cls) == row for cls, row in found.items()) for _, counts in published(name))
