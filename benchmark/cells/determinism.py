"""Which methods run with deterministic algorithms alone, and how float32 products are computed on a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from diadbench.methods.catalog import CATALOG

if TYPE_CHECKING:
    import torch

#: This project's own methods. For them an operation without a deterministic implementation raises. Other methods
#: (anomalib's models and users' methods, whose code we can't change) run such an operation, and a note says so.
STRICT = frozenset(name for name, entry in CATALOG.items() if not entry.info.packages)


def be_deterministic(method: str = "") -> None:
    """Let torch choose deterministic algorithms.

    Args:
        method: Name of the method that runs next. An operation without a deterministic algorithm is an error for the
            project's own methods and a warning for all others.
    """
    import torch

    torch.use_deterministic_algorithms(True, warn_only=method not in STRICT)
    # PyTorch would fill new memory that is overwritten anyway, which nearly doubles the number of kernels.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False


def set_tf32(allowed: bool) -> None:
    """Let GPUs compute convolutions and matrix products of float32 numbers in TF32, or forbid it for both.

    torch's own default is TF32 in convolutions and full float32 in products.
    """
    from diadbench.common.processes.tf32 import Tf32, allow_tf32

    allow_tf32(Tf32(allowed, allowed))


def settings_notes(changed: Mapping[str, Any], threads: int) -> list[str]:
    """Return the notes on what a method's code sets that the run asks for otherwise.

    Args:
        changed: Of :class:`~diadbench.common.processes.apart.Apart`.
        threads: CPU threads of the run.
    """
    notes = []
    if "threads" in changed:
        told = f"{changed['threads']} CPU threads, not the {threads} of this run"
        notes.append(f"its code sets {told}: its time and the last digits of its results are theirs")
    if "deterministic" in changed and not changed["deterministic"][0]:
        notes.append("its code turns torch's deterministic algorithms off: two runs may differ")
    return notes


def gpu_notes(method: str, device: torch.device, *, tf32: bool) -> list[str]:
    """Return the notes that must accompany figures computed on a GPU; none for a CPU."""
    if device.type != "cuda":
        return []
    notes = [f"float32 products on the GPU in {'TF32' if tf32 else 'full float32'} (tf32: {str(tf32).lower()})"]
    if method not in STRICT:
        notes.append("not held to deterministic algorithms on the GPU: two runs may differ in their last digits")
    return notes
