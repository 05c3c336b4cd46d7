"""An exhausted memory is recognised wherever it was: here, in a process that trains for this one, on CPU or GPU."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import torch
import torch.multiprocessing

from diadbench.common.processes.out_of_memory import is_out_of_memory


def fail(rank: int) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_what_torch_says(error: Exception) -> None:
    assert is_out_of_memory(error)


def test_what_led_to_an_error_counts() -> None:
    error = RuntimeError("training failed")
    error.__cause__ = MemoryError()
    assert is_out_of_memory(error)


def test_a_process_that_trains_for_this_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # torch leaves the error's file where it is
    with pytest.raises(torch.multiprocessing.ProcessRaisedException) as caught:
        torch.multiprocessing.start_processes(fail, nprocs=1, start_method="fork")
    assert is_out_of_memory(caught.value)


@pytest.mark.parametrize("error", [RuntimeError("shapes don't fit"), KeyboardInterrupt(), ValueError("memory")])
def test_other_errors_are_others(error: BaseException) -> None:
    assert not is_out_of_memory(error)
