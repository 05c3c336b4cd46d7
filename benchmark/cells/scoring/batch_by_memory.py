"""Choose how many test images a GPU predicts at a time, where the grid leaves that open and no result depends on it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from diadbench.benchmark.cells.provenance import random_state, set_random_state
from diadbench.benchmark.cells.scoring.answering import Answer, answered, joined
from diadbench.common.processes.out_of_memory import is_out_of_memory
from diadbench.methods.base import SampleMethod
from diadbench.methods.training.gpu_memory import room, used_by

if TYPE_CHECKING:
    from collections.abc import Callable

    from diadbench.datasets.decoding.data import TestData
    from diadbench.methods.base import Method, RunContext

#: Share of the memory that is free on a GPU for the predictions of a batch. The rest is for what was not measured.
SHARE = 0.5
#: Pixels of a batch that keep any GPU busy: 64 images of 256 x 256. More would only cost memory of the host.
ENOUGH = 64 * 256**2


def batch_for(method: Method | None, cell: dict[str, Any], test: TestData, run: RunContext) -> int:
    """Return the number of images of a batch: the grid's, or one chosen by the memory of the run's GPU.

    The first test images are predicted once to measure the memory of a batch. The method's random numbers are restored
    after it. The choice is a power of two times the default (or a half or a quarter of it on a small card), so it
    doesn't depend on small differences of the free memory. ``extras.test_batch`` of the run says what was chosen.

    Args:
        method: The fitted method; ``None`` if it isn't needed any more.
        cell: The cell's configuration.
        test: The test images of the part.
        run: The run's settings.

    Raises:
        Exception: The error of the GPU if a single image is out of memory.
    """
    chosen = int(cell["batch_size"])
    by_memory = cell.get("batch_by_memory", False) and run.device.type == "cuda"
    if not by_memory or method is None or isinstance(method, SampleMethod) or not len(test):
        return chosen
    images = next(test.batches(chosen)).image
    state = random_state(run.device)
    chosen, used = _measured(method, images, chosen, run.device)
    set_random_state(state, run.device)
    each = max(used / min(chosen, len(images)), 1.0)
    most = min(SHARE * room(run.device) / each, ENOUGH / (images.shape[-2] * images.shape[-1]))
    while 2 * chosen <= most:
        chosen *= 2
    run.extras["test_batch"] = chosen
    return chosen


def answered_in_parts(ask: Callable[[Tensor], Answer], images: Tensor, run: RunContext) -> Answer:
    """Return the answer for a batch; where that is out of memory, the answers for its halves.

    Another process may have taken memory of the GPU since the batch was chosen. ``extras.test_batch_divided`` of the
    run then says how many images were predicted at a time.

    Args:
        ask: Returns the answer for ``float32 (B,C,H,W)`` images; no result may depend on the batch.
        images: The batch.
        run: The run's settings.
    """
    try:
        return ask(images)
    except Exception as error:
        if len(images) == 1 or not is_out_of_memory(error):
            raise
    torch.cuda.empty_cache()
    parts = images.chunk(2)
    run.extras["test_batch_divided"] = min(len(parts[0]), run.extras.get("test_batch_divided", len(images)))
    return joined([answered_in_parts(ask, part, run) for part in parts])


def _measured(method: Method, images: Tensor, size: int, device: torch.device) -> tuple[int, int]:
    """Return how many images at a time can be predicted, ``size`` or a part of it, and the bytes that they need."""
    while True:
        try:
            with torch.inference_mode():
                return size, used_by(partial(answered, method, images[:size], device), device)
        except Exception as error:
            if size == 1 or not is_out_of_memory(error):
                raise
        size //= 2
        torch.cuda.empty_cache()
