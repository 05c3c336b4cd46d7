"""How fast a method is on this machine, as ``diadbench doctor`` has measured it: kept in the cache directory.

A cell that has run tells more, so this counts only where none like it has.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from diadbench.common.files import cache_dir, read_json, write_json

#: What a speed depends on.
_LIKE = ("method", "method_options", "image_size", "device", "devices", "threads")


@dataclass(frozen=True)
class Speed:
    """Seconds of what a method does; ``None`` where that was not measured, or isn't a part of it.

    Attributes:
        step: Of an optimiser step.
        steps: Optimiser steps, whatever the data.
        steps_an_image: Further steps for each training image (budgets in epochs).
        train_image: Of a training image, once.
        pick: Of a coreset's pick, for each patch that it is compared with.
        patches: Patches of an image; 0 without a coreset.
        ratio: Share of the patches that is picked.
        most: The most patches that are picked.
        test_image: Of a test image, without metrics.
        cpu_bytes: Peak memory.
        gpu_bytes: Peak memory of the GPU.
        disk_bytes: Of the trained model.
    """

    step: float | None = None
    steps: float = 0.0
    steps_an_image: float = 0.0
    train_image: float = 0.0
    pick: float = 0.0
    patches: float = 0.0
    ratio: float = 0.0
    most: float = 0.0
    test_image: float | None = None
    cpu_bytes: float | None = None
    gpu_bytes: float | None = None
    disk_bytes: float | None = None

    def seconds(self, train: int, test: int) -> float | None:
        """Return the seconds of a cell with so many images; ``None`` where a part of it wasn't measured."""
        steps = self.steps + self.steps_an_image * train
        if self.test_image is None or (steps and self.step is None):
            return None
        patches = self.patches * train
        coreset = min(self.ratio * patches, self.most) * patches * self.pick
        return steps * (self.step or 0.0) + train * self.train_image + coreset + test * self.test_image


def keep_speed(config: dict[str, Any], speed: Speed) -> None:
    """Keep the speed of a method with the options, image size, device and threads of a cell's configuration."""
    with contextlib.suppress(OSError):  # a full or read-only cache costs the next plan its forecast, no more
        write_json(cache_dir() / "costs" / f"{_key(config)}.json", asdict(speed))


def kept_speed(config: dict[str, Any]) -> Speed | None:
    """Return what :func:`keep_speed` kept for such a configuration; ``None`` for nothing."""
    found = read_json(cache_dir() / "costs" / f"{_key(config)}.json")
    if not isinstance(found, dict):
        return None
    return Speed(**{key: found[key] for key in Speed.__dataclass_fields__ if key in found})


def _key(config: dict[str, Any]) -> str:
    text = json.dumps({"speed": {name: config.get(name) for name in _LIKE}}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
