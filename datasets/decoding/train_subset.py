"""Choose the training images of a method: a few of each class, a share of them, or some that are anomalous.

The choice depends on the data seed, not on a method's seed, so all methods and seeds get the same images.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from diadbench.common.errors import UserError
from diadbench.common.wording import counted


@dataclass(frozen=True)
class TrainSubset:
    """A rule that changes which images are trained on.

    Attributes:
        shots: Number of normal images of each class. ``None``: all. A class that has fewer gives all of them.
        fraction: This share of each class's normal images, at least one; in (0, 1].
        contamination: Share of anomalous images among the training images, in (0, 1). They are drawn from the class's
            anomalous test images and taken out of the test, with all views of the same physical sample.
        seed: Seed of the choice.

    Raises:
        UserError: Both ``shots`` and ``fraction``, or a value out of its range.
    """

    shots: int | None = None
    fraction: float | None = None
    contamination: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.shots is not None and self.fraction is not None:
            raise UserError("few-shot and train_fraction both say how many images to train on; leave one of them out")
        if self.shots is not None and self.shots < 1:
            raise UserError(f"shots: expected at least 1, found {self.shots}")
        if self.fraction is not None and not 0 < self.fraction <= 1:
            raise UserError(f"train_fraction: expected above 0 and at most 1, found {self.fraction}")
        if self.contamination is not None and not 0 < self.contamination < 1:
            raise UserError(f"contamination: expected above 0 and below 1, found {self.contamination}")

    @classmethod
    def read(cls, values: Mapping[str, Any] | None) -> TrainSubset | None:
        """Return the rule from the values of :meth:`to_dict`; ``None`` for none."""
        return cls(**values) if values else None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, without unset ones."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def apply(self, samples: pd.DataFrame) -> pd.DataFrame:
        """Return the rows that are trained on and tested.

        Args:
            samples: A dataset's whole sample table.

        Returns:
            Rows of ``samples`` in their order and with their index. The split of anomalous images that are trained on
            is ``train``; normal images that are not chosen are left out.

        Raises:
            UserError: A class has too few anomalous test images, or ``contamination`` rounds to none in every class.
        """
        kept: list[int] = []
        moved: list[int] = []
        gone: set[int] = set()
        for _, rows in samples.groupby("class", sort=False):
            chosen = self._chosen(rows[rows["split"] == "train"])
            drawn = self._drawn(rows[rows["split"] == "test"], len(chosen))
            kept += chosen
            moved += drawn
            gone |= _same_samples(rows, drawn)
        if self.contamination is not None and not moved:
            raise UserError(f"contamination {self.contamination} of so few training images is no image in any class")
        test = samples.index[(samples["split"] == "test") & ~samples.index.isin(gone)]
        table = samples.loc[sorted([*kept, *moved, *test.tolist()])].copy()
        table.loc[moved, "split"] = "train"
        return table

    def notes(self, samples: pd.DataFrame) -> list[str]:
        """Return the notes that every table must carry.

        Args:
            samples: The dataset's whole sample table.
        """
        table = self.apply(samples)
        train = table[table["split"] == "train"]
        counts = train.groupby("class", sort=False).size()
        spread = f"{counts.min():,}" if counts.min() == counts.max() else f"{counts.min():,} to {counts.max():,}"
        told = [f"trained on {counted(len(train), 'image')} ({spread} a class), drawn by data seed {self.seed}"]
        if self.shots is not None and counts.min() < self.shots:
            told.append(f"shots {self.shots}: {counts.idxmin()} has only {counted(counts.min(), 'training image')}")
        anomalous = int(train["label"].sum())
        if anomalous:
            taken = int((samples["split"] == "test").sum() - (table["split"] == "test").sum())
            told.append(
                f"{anomalous:,} of the training images are anomalous (contamination {self.contamination:g}); {taken:,} "
                "images were taken out of the test"
            )
        return told

    def _chosen(self, train: pd.DataFrame) -> list[int]:
        """Return chosen rows of a class's normal images. A larger choice contains every smaller one."""
        count = len(train)
        if self.shots is not None:
            count = min(self.shots, count)
        elif self.fraction is not None:
            count = max(1, round(self.fraction * count))
        return _draw(train, count, self.seed, "normal") if count < len(train) else train.index.tolist()

    def _drawn(self, test: pd.DataFrame, normal: int) -> list[int]:
        """Return rows of a class's anomalous test images that are trained on."""
        if self.contamination is None:
            return []
        wanted = round(self.contamination / (1 - self.contamination) * normal)
        anomalous = test[test["label"] == 1]
        drawn = _draw(anomalous, min(wanted, len(anomalous)), self.seed, "anomalous")
        left = len(anomalous) - len(_same_samples(test, drawn) & set(anomalous.index))
        if wanted > len(drawn) or left < 1:
            name = test["class"].iloc[0]
            most = math.floor(100 * (len(anomalous) - 1) / (len(anomalous) - 1 + normal)) / 100 if normal else 0.0
            raise UserError(
                f"contamination {self.contamination:g}: class {name!r} needs {wanted:,} anomalous images to train on "
                f"and one to test, it has {len(anomalous):,}; give at most {most:g}, or fewer training images"
            )
        return drawn


def _draw(rows: pd.DataFrame, count: int, seed: int, what: str) -> list[int]:
    """Draw rows of one class by its name and its images' paths, so that other classes and the order don't matter."""
    if not count:
        return []
    ordered = rows.sort_values("image").index.to_numpy()
    text = hashlib.sha256(f"{what} {rows['class'].iloc[0]}".encode()).digest()
    generator = np.random.default_rng([seed, int.from_bytes(text[:8], "big")])
    return sorted(int(row) for row in ordered[generator.permutation(len(ordered))[:count]])


def _same_samples(rows: pd.DataFrame, drawn: list[int]) -> set[int]:
    """Return the test rows that show the physical samples of ``drawn``, these included."""
    test = rows[rows["split"] == "test"]
    return set(test.index[test["sample_id"].isin(rows.loc[drawn, "sample_id"])])
