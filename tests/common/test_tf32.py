"""The grid's `tf32` holds whatever a method's file has set, and torch answers by its older names afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from diadbench.benchmark.cells.provenance import seed_everything
from diadbench.common.processes.tf32 import Tf32, allow_tf32, full_float32, tf32_now
from diadbench.methods.features.feature_cache import arithmetic
from diadbench.methods.training.callbacks import Arithmetic

NEWER = hasattr(torch.backends.cuda.matmul, "fp32_precision")  # torch 2.9


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = tf32_now()
    yield
    torch.set_float32_matmul_precision("highest")
    allow_tf32(before)


def set_products() -> None:
    torch.backends.cuda.matmul.fp32_precision = "tf32"


def set_convolutions() -> None:
    torch.backends.cudnn.conv.fp32_precision = "ieee"


def set_everything() -> None:
    torch.backends.fp32_precision = "tf32"


def set_by_level() -> None:
    torch.set_float32_matmul_precision("high")


def set_older() -> None:
    torch.backends.cuda.matmul.allow_tf32 = not torch.backends.cuda.matmul.allow_tf32


#: What method files and libraries do.
WAYS = [set_by_level, set_older] + ([set_products, set_convolutions, set_everything] if NEWER else [])


@pytest.mark.parametrize("allowed", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_what_a_file_sets_neither_stops_a_training_nor_outlives_the_grids_word(
    way: Callable[[], None], allowed: bool
) -> None:
    way()
    found = Arithmetic.now()  # what is handed to processes that train together
    found.set()
    arithmetic(torch.device("cuda"))
    seed_everything(0, "", tf32=allowed)
    assert tf32_now() == (allowed, allowed)
    assert torch.backends.cuda.matmul.allow_tf32 == torch.backends.cudnn.allow_tf32 == allowed
    assert ("tf32" in arithmetic(torch.device("cuda"))["tf32"]) == allowed or not NEWER


@pytest.mark.parametrize("way", WAYS)
def test_full_float32_ends_with_what_was_before(way: Callable[[], None]) -> None:
    way()
    before = tf32_now()
    with full_float32():
        assert tf32_now() == Tf32(False, False)
    assert tf32_now() == before
