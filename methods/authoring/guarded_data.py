"""Training data that detects access to labels, masks or test images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

from diadbench.datasets.decoding.data import Batch
from diadbench.methods.authoring.small_data import SmallData

#: Names that a method must not request from training data.
FORBIDDEN = (
    "anomalous",
    "dataset",
    "defect",
    "defects",
    "gt_label",
    "gt_mask",
    "label",
    "labels",
    "mask",
    "masks",
    "samples",
    "table",
    "target",
    "targets",
    "test",
    "test_data",
    "y",
)


class LabelPeekError(Exception):
    """A method requested something that it must not see."""


class GuardedData(SmallData):
    """Copy of ``data`` that refuses and records every request for labels and test images."""

    def __init__(self, data: SmallData) -> None:
        self.asked: list[str] = []
        super().__init__(data.images(list(range(len(data)))), data.class_ids, data.class_names)

    def refuse(self, name: str) -> NoReturn:
        """Record the request, in case its error is swallowed, and raise."""
        self.asked.append(name)
        raise LabelPeekError(_sentence(name))

    def nobody_peeked(self, error: type[Exception]) -> None:
        """Raise ``error`` if there was such a request, even if its error was swallowed."""
        if self.asked:
            raise error(_sentence(self.asked[0]))

    def __getattr__(self, name: str) -> Any:
        if name in FORBIDDEN:
            self.refuse(name)
        raise AttributeError(f"training data has no {name!r}")

    def __getitem__(self, i: int) -> dict[str, Any]:
        return _GuardedSample(self, super().__getitem__(i))

    def batches(
        self, batch_size: int, *, shuffle: bool = False, seed: int = 0, drop_last: bool = False
    ) -> Iterator[Batch]:
        """Yield batches that refuse access to label and mask."""
        for batch in super().batches(batch_size, shuffle=shuffle, seed=seed, drop_last=drop_last):
            yield _GuardedBatch(batch.image, batch.class_id, batch.index, owner=self)


class _GuardedBatch(Batch):
    def __init__(self, *values: Any, owner: GuardedData) -> None:
        for name, value in zip(("image", "class_id", "index"), values):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_owner", owner)

    def __getattribute__(self, name: str) -> Any:
        if name in ("label", "mask"):
            object.__getattribute__(self, "_owner").refuse(name)
        return object.__getattribute__(self, name)


class _GuardedSample(dict[str, Any]):
    def __init__(self, owner: GuardedData | dict[str, Any], values: dict[str, Any] | None = None) -> None:
        if values is None:  # torch's collate creates a mapping of the same type from values alone.
            super().__init__(owner)
            return
        super().__init__(values)
        self._owner = owner

    def __missing__(self, key: str) -> Any:
        owner = getattr(self, "_owner", None)
        if key in FORBIDDEN and isinstance(owner, GuardedData):
            owner.refuse(key)
        raise KeyError(key)


def _sentence(name: str) -> str:
    return f"fit asks the training data for {name!r}: no label, mask or test image is within reach of a method"
