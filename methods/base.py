"""The interface of a method: fit on normal images, predict anomaly maps and scores, save and load."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from diadbench.common.errors import UserError
from diadbench.methods.info import MethodInfo

if TYPE_CHECKING:
    import pandas as pd

    from diadbench.datasets.decoding.data import TrainData

__all__ = ["Method", "MethodInfo", "Prediction", "RunContext", "RunSettings", "SampleMethod"]


@dataclass(frozen=True)
class Prediction:
    """A method's predictions for a batch of ``B`` images.

    Attributes:
        anomaly_map: ``float32 (B,H,W)``, any range, larger is more anomalous; the size of the input images.
        score: ``float32 (B,)``: the method's own image score.
        reconstruction: ``float32 (B,3,H,W)`` in [0,1], or ``None``.
    """

    anomaly_map: Tensor
    score: Tensor
    reconstruction: Tensor | None = None


def no_progress(done: int, total: int, what: str) -> None:
    """Ignore a progress report."""


@dataclass
class RunContext:
    """The settings that a method gets from a run, and the place for its notes and extra values.

    Attributes:
        seed: Seed of everything random in the method. Python, numpy and torch are already seeded with it.
        device: Where to compute.
        image_size: ``(H, W)`` of all images.
        class_names: Names of the class ids.
        directory: Scratch directory of this cell and part, kept until the cell is done. Training checkpoints go here,
            so that a run that was killed finds them again.
        cache_dir: Directory shared by all cells for expensive files that can be built again (features, latents).
        threads: CPU threads to use.
        devices: Number of devices for one cell (DDP) when above 1.
        split: Number of parts of each training batch, after an earlier try was out of memory. The gradients of the
            parts are summed, so a step still uses the same images.
        progress: Call ``progress(done, total, "what")``; it is cheap and should be called often.
        notes: Texts that must be printed beside every number of this cell (``"random weights"``). Append to it.
        extras: Plain values kept beside the result (final loss, coverage radius). Assign to it.
        logger: The configured Lightning logger, or ``None``.
    """

    seed: int
    device: torch.device
    image_size: tuple[int, int]
    class_names: tuple[str, ...]
    directory: Path
    cache_dir: Path
    threads: int = 1
    devices: int = 1
    split: int = 1
    progress: Callable[[int, int, str], None] = no_progress
    notes: list[str] = field(default_factory=list)
    extras: dict[str, Any] = field(default_factory=dict)
    logger: Any = None


#: The former name, for users' files that import it.
RunSettings = RunContext


class Method(ABC):
    """Base of all methods. Keyword arguments of ``__init__`` are the options of the method in a grid.

    They must have type hints and defaults; the grid's values are checked against them. ``__init__`` stores
    options and does no work: no weights are loaded there and nothing is random there.

    One object is fitted once. :meth:`save` and :meth:`load` are inverse: a new object with the same options after
    ``load`` gives the same predictions.
    """

    info: ClassVar[MethodInfo]

    @classmethod  # noqa: B027 - not abstract: most methods have nothing to refuse
    def check_options(cls, options: Mapping[str, Any]) -> None:
        """Refuse invalid options before anything runs, by raising UserError.

        Types and names are checked already; ``options`` holds all keyword arguments. Kept trained models are loaded
        without this check.
        """

    @abstractmethod
    def fit(self, train: TrainData, run: RunContext) -> None:
        """Learn from normal images. Test images and labels are not accessible."""

    @abstractmethod
    def predict(self, images: Tensor) -> Prediction:
        """Score ``float32 (B,3,H,W)`` images in [0,1] (on any device). No result may depend on the batch."""

    @abstractmethod
    def save(self, directory: Path) -> None:
        """Write all that :meth:`predict` needs into an existing, empty directory (safetensors, npy, JSON)."""

    @abstractmethod
    def load(self, directory: Path, run: RunContext) -> None:
        """Read the files that :meth:`save` wrote; ``run`` gives device, size and classes."""

    def parameters_count(self) -> int | None:
        """Return the number of parameters of the networks (for the cost table), or ``None``."""
        return None


class SampleMethod(Method):
    """A method whose answers were made elsewhere and belong to samples, not to pixels.

    A cell asks it by rows of the sample table (:mod:`diadbench.datasets.table`): :meth:`expect` once, then
    :meth:`predict_samples` in place of :meth:`predict`. Its ``info`` has ``by_sample=True``.
    """

    @abstractmethod
    def expect(self, samples: pd.DataFrame, part: pd.DataFrame, size: tuple[int, int], run: RunContext) -> None:
        """Learn what will be asked, before anything is scored; note in ``run`` what is said of all answers.

        Args:
            samples: The whole sample table.
            part: Its test rows that will be asked.
            size: ``(H, W)`` of the evaluation.
            run: The run.

        Raises:
            UserError: There is no answer for some of them.
        """

    @abstractmethod
    def has_answers(self, samples: pd.DataFrame) -> bool:
        """Whether there is an answer for each of these rows; normal images that set thresholds may have none."""

    @abstractmethod
    def predict_samples(self, samples: pd.DataFrame, size: tuple[int, int]) -> Prediction:
        """Return the answers for rows of the sample table, maps ``float32 (B,H,W)`` at the evaluation size."""

    def predict(self, images: Tensor) -> Prediction:
        """Raise UserError: there are answers for the samples of a data set alone."""
        raise UserError(f"{self.info.name}: has answers for the images of its data set alone; it can't score others")
