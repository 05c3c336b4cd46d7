"""The GPUs that this process may use, by their CUDA names, and how they are distributed among cells."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping

from diadbench.common.errors import UserError

#: Names that ``CUDA_VISIBLE_DEVICES`` may hold: an index, a GPU's UUID (or its beginning), a MIG device.
NAME = re.compile(r"\d+|GPU-[\w-]+|MIG-[\w/-]+")

#: Where Linux lists the GPUs.
LISTED = "/proc/driver/nvidia/gpus"


def visible_gpus(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return the names of the NVIDIA GPUs that this process may use, without importing torch.

    The names are those in ``CUDA_VISIBLE_DEVICES`` up to the first invalid one, as CUDA reads it. If the variable isn't
    set, they are the indices of the GPUs that Linux lists.
    """
    told = environment.get("CUDA_VISIBLE_DEVICES")
    if told is None:
        return [str(index) for index in range(_listed())]
    names = []
    for name in (word.strip() for word in told.split(",")):
        if not NAME.fullmatch(name):
            break
        names.append(name)
    return names


def _listed() -> int:
    try:
        return len(os.listdir(LISTED))
    except OSError:
        return 0


def count_gpus() -> int:
    """Return the number of NVIDIA GPUs that this process may use, without importing torch."""
    return len(visible_gpus())


def offered(gpus: int | None) -> list[str]:
    """Return the names of the GPUs to distribute among cells.

    Args:
        gpus: How many of the visible GPUs; ``None``: all. If nothing says which GPUs this process may use, a number
            larger than it can count is accepted, and indices are returned.

    Raises:
        UserError: ``gpus`` is more than this process may use.
    """
    names = visible_gpus()
    if gpus is None:
        return names
    if gpus > len(names) and (names or "CUDA_VISIBLE_DEVICES" in os.environ):
        raise UserError(f"engine_options.gpus: {gpus}, but this process may use {_counted(names)}; lower it")
    return names[:gpus] if names else [str(index) for index in range(gpus)]


class Gpus:
    """GPUs with the number of cells that run on each.

    Args:
        names: Names as CUDA accepts them.
    """

    def __init__(self, names: Collection[str]) -> None:
        self.names = list(names)
        self._load = dict.fromkeys(self.names, 0)

    def slots(self, each: int) -> int:
        """Return how many cells of ``each`` GPUs run at the same time without sharing one; 1 if cells take no GPU.

        Raises:
            UserError: A cell asks for more GPUs than there are, or for several MIG devices.
        """
        if not each or not self.names:
            return 1
        if each > len(self.names):
            raise UserError(f"devices: {each}, but this process may use {_counted(self.names)}; lower devices")
        if each > 1 and any(name.startswith("MIG-") for name in self.names):
            raise UserError(f"devices: {each}, but CUDA gives a process one MIG device; set devices: 1")
        return len(self.names) // each

    def check_named(self, index: int) -> None:
        """Raise UserError if a cell names a GPU (``cuda:3``) that this process doesn't see."""
        if self.names and index >= len(self.names):
            raise UserError(
                f"device: cuda:{index}, but this process may use {_counted(self.names)}, counted from cuda:0"
            )

    def take(self, count: int) -> list[str]:
        """Return the ``count`` GPUs with the fewest cells, and count one more for each."""
        chosen = sorted(self.names, key=lambda name: self._load[name])[:count]
        for name in chosen:
            self._load[name] += 1
        return chosen

    def give_back(self, names: Collection[str]) -> None:
        """Count one cell less for each."""
        for name in names:
            self._load[name] -= 1


def environment_for(names: Collection[str]) -> dict[str, str]:
    """Return the environment variables that restrict a process to these GPUs; none if there are no GPUs."""
    return {"CUDA_VISIBLE_DEVICES": ",".join(names)} if names else {}


def named_gpu(device: str) -> int | None:
    """Return 1 for ``cuda:1``: the position of the GPU among the visible ones; ``None`` if no GPU is named."""
    index = device.partition(":")[2]
    return int(index) if index else None


def _counted(names: Collection[str]) -> str:
    if not names:
        return "no GPU" + (" (CUDA_VISIBLE_DEVICES names none)" if "CUDA_VISIBLE_DEVICES" in os.environ else "")
    return f"{len(names)} GPU{'s' if len(names) > 1 else ''} ({', '.join(names)})"
