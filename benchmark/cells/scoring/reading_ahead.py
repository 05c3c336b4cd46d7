"""While a batch is predicted, read the next one and evaluate the last."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

    from diadbench.datasets.decoding.data import Batch

T = TypeVar("T")
#: Batches that may wait for their evaluation.
WAITING = 4


def pinned(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Yield batches with their images in pinned memory, from which the copy to a GPU is asynchronous."""
    for batch in batches:
        yield replace(batch, image=batch.image.pin_memory())


def pinned_images(batches: Iterator[Tensor]) -> Iterator[Tensor]:
    """Yield images in pinned memory."""
    for images in batches:
        yield images.pin_memory()


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


class Beside:
    """Do one thing after another, in a thread beside the GPU's work or at once. Errors are raised in the main thread.

    Args:
        in_thread: Whether there is a thread.
    """

    def __init__(self, *, in_thread: bool) -> None:
        self._pool = ThreadPoolExecutor(1, "evaluate") if in_thread else None
        self._waiting: deque[Future[None]] = deque()

    def do(self, work: Callable[[], None]) -> None:
        """Do the work; in a thread, wait only while too much of it is left to do."""
        if self._pool is None:
            work()
            return
        self._waiting.append(self._pool.submit(work))
        while len(self._waiting) > WAITING:
            self._waiting.popleft().result()

    def wait(self) -> None:
        """Wait until all is done."""
        while self._waiting:
            self._waiting.popleft().result()

    def __enter__(self) -> Beside:
        """Return this."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the thread; after an error, what has not begun isn't done."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=error is not None)
        if error is None:
            self.wait()
