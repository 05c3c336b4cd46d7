"""Recognise errors of exhausted memory: of a CPU or a GPU, in this process or in one that worked for it."""

from __future__ import annotations

from collections.abc import Iterator

#: Messages of torch, its libraries and the C++ runtime. A child process reports its error as text.
SAYINGS = (
    "CUDA out of memory",
    "OutOfMemoryError",
    "can't allocate memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDA error: out of memory",
    "std::bad_alloc",
    "MemoryError",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or one of its causes, means that a CPU's or GPU's memory is exhausted."""
    return any(_says_so(each) for each in _chain(error))


def _says_so(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, Exception) and any(saying in str(error) for saying in SAYINGS)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__
