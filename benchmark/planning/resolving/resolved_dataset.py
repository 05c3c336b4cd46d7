"""A dataset of a grid, made and checked: its root, all its options, its samples and the digest of its files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from diadbench.benchmark.planning.grids.grid_shape import DatasetSpec, Grid
from diadbench.benchmark.planning.resolving.resolve import checked_options
from diadbench.common.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

ProgressCall = Callable[[int, int, str], None]


class ResolvedDataset:
    """A dataset of the grid with its root and all its options.

    Attributes:
        root: Absolute path, or ``None`` where the adapter makes its data.
        options: Every keyword argument, defaults included.
        images: Numbers of training and test images.
        is_cut: Whether the grid's ``limit`` left samples out.
        info: :class:`~diadbench.datasets.base.DatasetInfo` as a dict, with the flags of the options and ``source``: the
            list or the folders that the samples were read from.
    """

    def __init__(self, grid: Grid, spec: DatasetSpec, progress: ProgressCall | None) -> None:
        from diadbench import datasets
        from diadbench.datasets.checking.check import refuse
        from diadbench.datasets.layouts.roots import find_root

        where = f"datasets.{spec.label}"
        if "root" in spec.options:
            raise UserError(f"{where}.options.root: write it as {where}.root")
        cls = datasets.get_class(spec.dataset)
        self.options = {key: value for key, value in checked_options(cls, spec.options, where).items() if key != "root"}
        root = find_root(spec.dataset, root=spec.root, data_root=grid.data_root)
        self._dataset = cls(root, **self.options)
        self.root = None if root is None else str(Path(root).absolute())
        refuse(self._dataset)
        count = len(self._dataset.samples)
        if grid.limit is not None:
            self._dataset.limit_to(grid.limit)
            self.options["limit"] = grid.limit
        self.is_cut = len(self._dataset.samples) < count
        splits = self._dataset.samples["split"].value_counts()
        self.images: tuple[int, int] | None = int(splits.get("train", 0)), int(splits.get("test", 0))
        self.info = {
            **asdict(self._dataset.info),
            "flags": list(self._dataset.flags),
            "source": self._dataset.source,
        }
        self._progress = progress
        self._fingerprints: dict[tuple[str, ...], str] = {}

    @property
    def samples(self) -> pd.DataFrame:
        """Return the dataset's checked sample table."""
        return self._dataset.samples

    def fingerprint(self, channels: tuple[str, ...]) -> str:
        """Return the digest of the table and of the files that a method with these channels reads."""
        from diadbench.datasets.decoding.fingerprint import fingerprint

        if channels not in self._fingerprints:
            self._fingerprints[channels] = fingerprint(self._dataset, channels, self._progress)
        return self._fingerprints[channels]
