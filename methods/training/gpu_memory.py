"""Peak GPU memory of a cell on each of its cards, including memory of other processes that train for it.

Every cell imports this module, so it imports no Lightning.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from diadbench.common.files import write_text

#: Card -> peak in bytes of processes that trained for this one and have ended, and of this one before it was reset.
_EARLIER: dict[int, int] = {}


def tell(directory: Path, rank: int, device: torch.device) -> None:
    """Write the peak of this process's GPU for the process that waits for it, which calls :func:`take_in`."""
    peak = {str(device.index or 0): int(torch.cuda.max_memory_allocated(device))}
    write_text(directory / f"gpu-peak-{rank}.json", json.dumps(peak))


def take_in(directory: Path) -> None:
    """Read and remove the files of the processes that trained here."""
    for path in directory.glob("gpu-peak-*.json"):
        for card, peak in json.loads(path.read_text(encoding="utf-8")).items():
            _keep(int(card), int(peak))
        path.unlink()


def _keep(card: int, peak: int) -> None:
    _EARLIER[card] = max(_EARLIER.get(card, 0), peak)


def used_by(work: Callable[[], object], device: torch.device) -> int:
    """Do some work on a GPU; return the peak in bytes that it had allocated beside what was there before.

    The peak of this process (:func:`peaks`) isn't lost.
    """
    card = torch.cuda.current_device() if device.index is None else device.index
    _keep(card, int(torch.cuda.max_memory_allocated(card)))
    torch.cuda.reset_peak_memory_stats(card)
    before = int(torch.cuda.memory_allocated(card))
    work()
    return int(torch.cuda.max_memory_allocated(card)) - before


def room(device: torch.device) -> int:
    """Return the bytes of a GPU that this process can still allocate: free ones, and its own that are unused."""
    free, _ = torch.cuda.mem_get_info(device)
    return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))


def peaks() -> dict[int, int]:
    """Return the peak in bytes that torch had allocated on each card, in this process or one that trained for it."""
    found: dict[int, int] = dict(_EARLIER)
    if torch.cuda.is_available():
        for card in range(torch.cuda.device_count()):
            found[card] = max(found.get(card, 0), int(torch.cuda.max_memory_allocated(card)))
    return {card: peak for card, peak in sorted(found.items()) if peak}


def as_facts() -> dict[str, Any]:
    """Return the largest peak and that of each card, as ``peak_memory`` has them."""
    found = peaks()
    return {
        "gpu_bytes": max(found.values(), default=0),
        "gpu_bytes_by_card": {str(card): peak for card, peak in found.items()},
    }
