"""Read the next batch of test images while one is predicted, and copy all predictions from the GPU at once."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

if TYPE_CHECKING:
    from diadbench.datasets.decoding.data import Batch
    from diadbench.methods.base import Method

T = TypeVar("T")


def answered(method: Method, images: Tensor, device: torch.device) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return maps ``float32 (B,H,W)`` and scores ``float32 (B,)``, both on the CPU, and the reconstructions.

    On a GPU, maps and scores are copied together, so the host waits only once.

    Args:
        method: A fitted method.
        images: ``float32 (B,C,H,W)`` in [0,1], on the CPU. A copy from pinned memory is asynchronous.
        device: Device of the method.
    """
    found = method.predict(images.to(device, non_blocking=True))
    maps, scores = found.anomaly_map.float(), found.score.float()
    if maps.device.type == "cpu" or maps.device != scores.device:
        return maps.cpu(), scores.cpu(), found.reconstruction
    both = torch.cat([maps.flatten(), scores.flatten()]).cpu()
    return both[: maps.numel()].view(maps.shape), both[maps.numel() :].view(scores.shape), found.reconstruction


def pinned(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Yield batches with their images in pinned memory, from which the copy to a GPU is asynchronous."""
    for batch in batches:
        yield replace(batch, image=batch.image.pin_memory())


def read_ahead(batches: Iterator[T]) -> Iterator[T]:
    """Yield the items of an iterator; a separate thread produces the next one meanwhile. Its errors are raised here."""
    ready: queue.Queue[tuple[str, T | BaseException | None]] = queue.Queue(maxsize=1)
    over = threading.Event()

    def put(kind: str, value: T | BaseException | None) -> None:
        while not over.is_set():
            try:
                return ready.put((kind, value), timeout=0.1)
            except queue.Full:
                continue

    def make() -> None:
        try:
            for batch in batches:
                put("batch", batch)
                if over.is_set():
                    return
            put("end", None)
        except BaseException as error:
            put("error", error)

    thread = threading.Thread(target=make, name="read ahead", daemon=True)
    thread.start()
    try:
        while True:
            kind, value = ready.get()
            if kind == "batch":
                yield value  # type: ignore[misc]
            elif kind == "error":
                assert isinstance(value, BaseException)
                raise value
            else:
                return
    finally:
        over.set()
        thread.join()
