"""Replay a whole training step (forward, backward, clipping, optimiser) as one CUDA graph.

The host needs longer to start the kernels of a small network than a GPU to compute them. A graph holds all kernels of a
step and is started by one call. Steps are captured once for each shape of a batch and each learning rate, which are
constants of a graph. The same kernels run with the same arguments as without a graph. Random numbers are the same too:
torch registers its generator with a graph, and a replay starts from the seed that was set before it
(https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

#: Steps of each shape that run without a graph, so that libraries and the optimiser allocate what they keep.
WARM_UP = 3
#: Largest number of graphs of a training; steps of further shapes or learning rates run without one.
MOST = 12


class WholeStep:
    """A training step as a function of its batch: loss, gradients, clipping, and the optimiser's update.

    Args:
        loss: ``loss(batch)``, a scalar.
        optimizer: Optimiser of the parameters.
        clip: Maximum norm of all gradients together, or ``None``.
    """

    def __init__(self, loss: Callable[[Tensor], Tensor], optimizer: torch.optim.Optimizer, clip: float | None) -> None:
        self._loss, self._clip, self.optimizer = loss, clip, optimizer

    def __call__(self, batch: Tensor) -> Tensor:
        """Make one step; return its loss without a gradient."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        if self._clip is not None:
            parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
            torch.nn.utils.clip_grad_norm_(parameters, self._clip)
        self.optimizer.step()
        return loss.detach()

    def rates(self) -> tuple[float, ...]:
        """Return the learning rate of each group."""
        return tuple(float(group["lr"]) for group in self.optimizer.param_groups)


@dataclass(frozen=True)
class _Captured:
    graph: torch.cuda.CUDAGraph
    batch: Tensor
    loss: Tensor


class StepGraphs:
    """The same steps as those of :class:`WholeStep`, replayed on a GPU. On a CPU each is computed.

    Args:
        step: The step.
    """

    def __init__(self, step: WholeStep) -> None:
        self._step = step
        self._seen: Counter[tuple[int, ...]] = Counter()
        self._captured: dict[Any, _Captured] = {}
        self._stream: torch.cuda.Stream | None = None
        self._pool: Any = None
        #: Number of steps that were replayed.
        self.replayed = 0

    def __call__(self, batch: Tensor) -> Tensor:
        """Make one step; return its loss, which the next step overwrites."""
        if batch.device.type != "cuda":
            return self._step(batch)
        shape = tuple(batch.shape)
        key = (shape, self._step.rates())
        found = self._captured.get(key)
        if found is None:
            self._seen[shape] += 1
            if self._seen[shape] <= WARM_UP or len(self._captured) >= MOST:
                return self._beside(batch)
            found = self._captured[key] = self._capture(batch)
        found.batch.copy_(batch)
        found.graph.replay()
        self.replayed += 1
        return found.loss

    def _beside(self, batch: Tensor) -> Tensor:
        """Make a step on the stream of the capture, as torch asks of the steps before one."""
        own, stream = torch.cuda.current_stream(batch.device), self._stream_of(batch)
        stream.wait_stream(own)
        batch.record_stream(stream)
        with torch.cuda.stream(stream):
            loss = self._step(batch)
        own.wait_stream(stream)
        loss.record_stream(own)
        return loss

    def _capture(self, batch: Tensor) -> _Captured:
        """Record a step without making it. Other threads (reading, checkpoints) may use the GPU meanwhile."""
        graph, kept = torch.cuda.CUDAGraph(), batch.clone()
        recording = torch.cuda.graph(
            graph, pool=self._pool, stream=self._stream_of(batch), capture_error_mode="thread_local"
        )
        with _capturable(self._step.optimizer), recording:
            loss = self._step(kept)
        self._pool = graph.pool()
        return _Captured(graph, kept, loss)

    def _stream_of(self, batch: Tensor) -> torch.cuda.Stream:
        if self._stream is None:
            self._stream = torch.cuda.Stream(batch.device)  # type: ignore[no-untyped-call]
        return self._stream


@contextmanager
def _capturable(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Let an optimiser be captured. torch asks for the setting; a fused optimiser computes the same without it."""
    before = [group["capturable"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["capturable"] = True
    try:
        yield
    finally:
        for group, value in zip(optimizer.param_groups, before, strict=True):
            group["capturable"] = value


class GraphedModule(pl.LightningModule):
    """Base of modules whose batch is one tensor and whose whole step may be replayed as a CUDA graph.

    A subclass defines :meth:`loss`, and ``configure_optimizers`` with one fused optimiser. ``training_step`` logs the
    loss and keeps it in ``last_loss``. Without a graph the steps are Lightning's own.

    Attributes:
        wants_graph: Whether a graph is used where it is possible.
        graph_said: ``"replayed"``, or why there was no graph; empty before the training.
    """

    last_loss: Tensor

    def __init__(self, *, wants_graph: bool) -> None:
        super().__init__()
        self.wants_graph = wants_graph
        self.graph_said = ""
        self._graphs: StepGraphs | None = None
        self.register_buffer("last_loss", torch.zeros(()))

    def loss(self, batch: Tensor) -> Tensor:
        """Return the loss of a batch, a scalar. It must not depend on values that the host knows of this step alone."""
        raise NotImplementedError

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        """Return the loss; with a graph the whole step has then been made."""
        loss = self.loss(batch) if self._graphs is None else self._graphs(batch)
        if self._graphs is None or self._is_point_of_curve():
            self.log("loss", loss)  # costs the host as much as the replay of a step
        self.last_loss = loss.detach()
        return loss

    def _is_point_of_curve(self) -> bool:
        """Whether the values of this step are read: by the training curve, and by loggers."""
        # A public attribute of Lightning's Trainer, which it sets from another class, so that types don't know it.
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        return (self.trainer.global_step + 1) % every == 0

    def no_graph(self) -> str:
        """Return why this training can't be replayed as a graph; an empty text if it can."""
        trainer = self.trainer
        optimizer = trainer.optimizers[0]
        reasons = {
            "no CUDA device": trainer.strategy.root_device.type != "cuda",
            "cuda_graph: false": not self.wants_graph,
            "several devices train together": trainer.world_size > 1,
            "a step sums the gradients of several batches": trainer.accumulate_grad_batches > 1,
            f"precision {trainer.precision}": trainer.precision != "32-true",
            "the optimiser isn't fused": len(trainer.optimizers) > 1 or not optimizer.defaults.get("fused"),
        }
        return next((reason for reason, holds in reasons.items() if holds), "")

    def on_train_start(self) -> None:
        """Decide whether the steps are replayed."""
        self.graph_said = self.no_graph()
        if not self.graph_said:
            step = WholeStep(self.loss, self.trainer.optimizers[0], self.trainer.gradient_clip_val)
            self._graphs, self.graph_said = StepGraphs(step), "replayed"

    def on_train_end(self) -> None:
        """Free the graphs' memory."""
        self.stop_replaying()

    def stop_replaying(self) -> None:
        """Make further steps without a graph, and free the graphs' memory."""
        if self._graphs is not None:
            self.last_loss = self.last_loss.clone()
            self._graphs = None
            self.zero_grad(set_to_none=True)  # gradients lie in the memory of the graphs

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Compute gradients, unless the step has been made."""
        if self._graphs is None:
            super().backward(loss, *args, **kwargs)

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: torch.optim.Optimizer) -> None:
        """Remove the gradients of the step before; with a graph its own memory holds them."""
        if self._graphs is None:
            super().optimizer_zero_grad(epoch, batch_idx, optimizer)

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Callable[[], Any] | None = None
    ) -> None:
        """Update the parameters; with a graph the closure has done that too."""
        if self._graphs is None:
            super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        elif optimizer_closure is not None:
            optimizer_closure()
