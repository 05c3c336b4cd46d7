"""Process many files in threads, with progress, and report all errors together."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from diadbench.common.cache.arrays import Fill
from diadbench.common.cache.arrays import Progress as Progress
from diadbench.common.cache.disk_space import writing as writing
from diadbench.common.cache.shards import Array, Put
from diadbench.common.errors import UserError
from diadbench.common.wording import some

#: Makes row ``i`` of a cached array, and a plain value that is stored with it.
Make = Callable[[int], tuple[Array, Any]]
_SHOWN = 3


class Problems:
    """Collect errors of files, to report the first few and their number in one line."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def add(self, error: BaseException) -> None:
        """Add one error."""
        text = str(error) or type(error).__name__
        if text not in self.messages:
            self.messages.append(text)

    def raise_any(self, what: str) -> None:
        """Raise one UserError for all problems; do nothing if there is none."""
        if not self.messages:
            return
        count = f"{len(self.messages)} problems: " if len(self.messages) > 1 else ""
        told = some(sorted(self.messages), sep="; ", most=_SHOWN, room=200)
        raise UserError(f"{what}: {count}{told}")


def run_all(
    task: Callable[[int], None], count: int, workers: int, problems: Problems, progress: Progress | None = None
) -> None:
    """Call ``task(0..count-1)`` in threads. A task's UserError is added to ``problems``; any other error ends all.

    Pillow and hashlib release the interpreter lock, so threads use all cores here.
    """
    if not count:
        return
    with ThreadPoolExecutor(max(1, workers)) as pool:
        futures = [pool.submit(task, i) for i in range(count)]
        try:
            for done, future in enumerate(as_completed(futures), 1):
                try:
                    future.result()
                except UserError as error:
                    problems.add(error)
                if progress is not None:
                    progress(done, count, "")
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def in_threads(make: Make, workers: int, problems: Problems) -> Fill:
    """Return a function that makes each row in threads. Rows that fail are left out; ``problems`` has the reason."""

    def fill(rows: range, put: Put, progress: Progress) -> None:
        def one(i: int) -> None:
            content, value = make(rows[i])
            put(rows[i], content, value)

        run_all(one, len(rows), workers, problems, progress)

    return fill


def partial_progress(
    progress: Progress | None, what: str, offset: int = 0, total: int | None = None
) -> Progress | None:
    """Return a progress call for a part of the work: it adds ``offset``, and reports ``what`` by default."""
    if progress is None:
        return None
    return lambda done, count, instead: progress(offset + done, total or count, instead or what)


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
