"""A fitted method on small data, and the error of a check: what every check of the conformance suite works with."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diadbench.methods.authoring.guarded_data import GuardedData, LabelPeekError
from diadbench.methods.authoring.small_data import anomalous_images, normal_images, small_train
from diadbench.methods.base import Method, Prediction, RunContext, no_progress


class CheckFailed(Exception):
    """A method violates the contract; the text is a sentence for its author."""


class Bench:
    """A fitted method on small data, and functions to fit more of them."""

    def __init__(
        self,
        cls: type[Method],
        options: dict[str, Any],
        size: int,
        images: int,
        device: torch.device,
        progress: Callable[[int, int, str], None] = no_progress,
    ) -> None:
        self._progress, self._name = progress, ""
        self.cls, self.options, self.size, self.count, self.device = cls, options, size, images, device
        parts = [(normal_images(2, i, size=size, seed=7), anomalous_images(2, i, size=size)[0]) for i in range(2)]
        self.images = torch.cat([image for pair in parts for image in pair])
        self.method: Method | None = None
        self.first: Prediction | None = None

    def tell(self, place: int, total: int, name: str) -> None:
        """Report which check comes next."""
        self._name = name
        self._progress(place, total, name)

    def _fitting(self, done: int, total: int, what: str) -> None:
        """Pass on the method's progress reports of its fit."""
        self._progress(done, total, f"{self._name}: {what}")

    @contextmanager
    def settings(self, classes: int = 2, seed: int = 0, device: torch.device | None = None) -> Iterator[RunContext]:
        """Return settings as the runner gives them, with everything seeded."""
        with tempfile.TemporaryDirectory(prefix="diadbench-check-") as scratch:
            names = tuple(f"stripes{i}" for i in range(classes))
            directory, cache = Path(scratch, "run"), Path(scratch, "cache")
            directory.mkdir()
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002 - as the runner does, for methods that use it
            torch.manual_seed(seed)
            size = (self.size, self.size)
            where = device or self.device
            yield RunContext(seed, where, size, names, directory, cache, progress=self._fitting)

    def given(self, images: Tensor) -> Tensor:
        """Return a copy of images on the device, as a cell passes them."""
        return images.clone().to(self.device)

    def fitted(self, classes: int = 2, device: torch.device | None = None) -> tuple[Method, GuardedData]:
        """Return a new, fitted method object."""
        data = GuardedData(small_train(classes, images=self.count, size=self.size))
        method = self.cls(**self.options)
        with self.settings(classes, device=device) as run:
            try:
                method.fit(data, run)
            except LabelPeekError as peek:
                raise CheckFailed(str(peek)) from peek
        return method, data

    def shared(self) -> tuple[Method, Prediction]:
        """Return the method that the checks of predict share, and its prediction of all images at once."""
        assert self.method is not None, "fits many classes comes first"
        if self.first is None:
            self.first = self.method.predict(self.given(self.images))
        return self.method, self.first
