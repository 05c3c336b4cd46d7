"""Batches that are read ahead: the same, in order, with their errors, and an end when nobody asks for more."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from diadbench.benchmark.cells.scoring.reading_ahead import answered, read_ahead
from diadbench.methods.base import Prediction


def test_order_and_end() -> None:
    assert list(read_ahead(iter(range(20)))) == list(range(20))


def test_an_error_comes_out_where_the_batch_would() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise OSError("disk is gone")

    batches = read_ahead(broken())
    assert next(batches) == 1
    with pytest.raises(OSError, match="disk is gone"):
        next(batches)


def test_the_thread_ends_when_nobody_asks_for_more() -> None:
    batches = read_ahead(iter(range(1000)))
    assert next(batches) == 0
    batches.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name == "read ahead"]


def test_answers_are_the_methods() -> None:
    class Fixed:
        def predict(self, images: torch.Tensor) -> Prediction:
            return Prediction(images.mean(1), images.amax((1, 2, 3)), images)

    images = torch.rand(3, 3, 8, 8)
    maps, scores, reconstruction = answered(Fixed(), images, torch.device("cpu"))  # type: ignore[arg-type]
    assert torch.equal(maps, images.mean(1))
    assert torch.equal(scores, images.amax((1, 2, 3)))
    assert reconstruction is not None
