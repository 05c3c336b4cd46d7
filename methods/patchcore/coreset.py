"""Greedy k-centre selection (farthest-first) with the result of single picks at the cost of a few passes.

The greedy algorithm always picks the point that is farthest from all centres so far, and a point's distance to its
nearest centre can only decrease. So the ``T`` farthest points are taken as a pool. While the pool's maximum is above
the ``T``-th distance, no point outside can be the farthest, and only the pool has to be searched. The picks are then
applied to all points as one matrix product, and the next pool is taken. Points may lie in a memory map; they are
streamed once per round, and memory is 8 to 16 bytes a point and one block. On a GPU the points are kept there if they
fit, and so are all distances; only the pool is copied to the CPU.

Matrix products lose digits by cancellation, so they only find candidates. In the pool, distances are computed from
differences in float64, so picks agree with a loop that computes each distance directly. Ties go to the lowest index.

Source of the selection: Sener & Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set Approach"
(ICLR'18), used by PatchCore (CVPR'22, section 3.2).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diadbench.common.files import write_with


class Points(Protocol):
    """``(N, d)`` float16 or float32, in memory or on disk."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(N, d)``."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Any:
        """Return the rows of a slice or of an array of positions."""


#: Elements of the largest temporary (64 MiB in float32).
_BLOCK = 16_777_216
#: The same on a GPU (1 GiB), and the share of its free memory that the points may take.
_GPU_BLOCK, _GPU_SHARE = 268_435_456, 0.5
#: Relative slack between distances from matrix products and from differences.
_SLACK = 1e-5
#: Seconds between checkpoints of a long selection.
_CHECKPOINT_SECONDS = 60.0


@dataclass(frozen=True)
class Coreset:
    """The result of a selection.

    Attributes:
        indices: ``int64 (k,)``: selected points in the order of selection. Fewer than asked for when the rest
            are copies of selected ones.
        radius: Coverage radius: largest distance of any point to its nearest selected one.
        radius_999: Radius within which 99.9 % of the points have a selected one.
        rounds: How many times all points were read.
    """

    indices: NDArray[np.int64]
    radius: float
    radius_999: float
    rounds: int


def greedy_coreset(
    points: Points,
    k: int,
    *,
    start: int = 0,
    initial: NDArray[np.float32] | None = None,
    pool: int = 1024,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] = lambda done, total: None,
    checkpoint: Path | None = None,
) -> Coreset:
    """Select ``k`` of ``points``, each the farthest from those before it (Euclidean).

    Args:
        points: ``(N, d)`` float16 or float32; a memory map is read in blocks. Centred values lose fewer digits.
        k: Number of points to select, 1..N.
        start: First pick, unless ``initial`` is given.
        initial: ``(N,)`` distances to begin with, as PatchCore's authors do (mean distance to ten random points);
            the first pick is then their maximum, and they stay in the minimum.
        pool: Size of the pool ``T``. It changes speed, not the result.
        device: Device of the matrix products.
        progress: Called with (selected, ``k``) after each round.
        checkpoint: File (``.npz``) for the state of a long selection, written once a minute and read on a resume.

    Raises:
        ValueError: ``k`` or ``start`` is out of range, or ``points`` are not finite.
    """
    total = len(points)
    if not 1 <= k <= total:
        raise ValueError(f"k must be in 1..{total}, got {k}")
    if not 0 <= start < total:
        raise ValueError(f"start must be in 0..{total - 1}, got {start}")
    points = _placed(points, torch.device(device))
    state = _State.resume(checkpoint, total) or _State.begin(total, initial)
    if torch.device(device).type == "cuda":
        state.squared, state.nearest = state.squared.to(device), state.nearest.to(device)
    if not state.picks and initial is None:
        state.add(points, [start], device)
    written = time.monotonic()
    while len(state.picks) < k:
        picks = _pool_picks(points, state, k - len(state.picks), pool)
        if not picks:  # All remaining points are copies of selected ones.
            break
        state.add(points, picks, device)
        progress(len(state.picks), k)
        if checkpoint is not None and time.monotonic() - written > _CHECKPOINT_SECONDS:
            state.save(checkpoint)
            written = time.monotonic()
    distances = state.squared.cpu().sqrt()
    radius_999 = float(distances.kthvalue(max(1, int(0.999 * total))).values)
    return Coreset(np.array(state.picks, dtype=np.int64), float(distances.max()), radius_999, state.rounds)


@dataclass
class _State:
    """Picks so far, and for each point the squared distance and the position of the nearest pick (-1: none)."""

    picks: list[int]
    squared: Tensor
    nearest: Tensor
    rounds: int = 0

    @classmethod
    def begin(cls, total: int, initial: NDArray[np.float32] | None) -> _State:
        squared = torch.full((total,), torch.inf) if initial is None else torch.from_numpy(initial).float().square()
        return cls([], squared, torch.full((total,), -1, dtype=torch.int32))

    @classmethod
    def resume(cls, path: Path | None, total: int) -> _State | None:
        if path is None or not path.is_file():
            return None
        with np.load(path) as saved:
            if len(saved["squared"]) != total:
                return None
            arrays = {name: saved[name] for name in ("picks", "squared", "nearest", "rounds")}
        return cls(
            arrays["picks"].tolist(),
            torch.from_numpy(arrays["squared"]),
            torch.from_numpy(arrays["nearest"]),
            int(arrays["rounds"]),
        )

    def save(self, path: Path) -> None:
        write_with(
            path,
            lambda name: np.savez(
                name,
                picks=np.array(self.picks, dtype=np.int64),
                squared=self.squared.cpu().numpy(),
                nearest=self.nearest.cpu().numpy(),
                rounds=np.array(self.rounds),
            ),
        )

    def add(self, points: Points, picks: list[int], device: torch.device | str) -> None:
        """Add ``picks`` as centres and update all distances in one pass over the points."""
        centres = _rows(points, np.array(picks)).float().to(device)
        offset = centres.square().sum(1)
        first = len(self.picks)
        for begin, block in _blocks(points, len(picks), _BLOCK if self.squared.device.type == "cpu" else _GPU_BLOCK):
            rows = _sent(block, device).float()
            partial, which = torch.addmm(offset, rows, centres.T, alpha=-2).min(1)
            squared = (partial + rows.square().sum(1)).clamp_min_(0).to(self.squared.device)
            if (~torch.isfinite(squared)).any():
                raise ValueError(f"points {begin}..{begin + len(block)} are not finite")
            old, old_nearest = self.squared[begin : begin + len(rows)], self.nearest[begin : begin + len(rows)]
            closer = squared < old
            old.copy_(torch.where(closer, squared, old))
            old_nearest.copy_(torch.where(closer, which.to(self.squared.device).int() + first, old_nearest))
        # A picked point has distance 0 to itself, whatever the rounding of the product.
        self.squared[picks] = 0
        order = torch.arange(first, first + len(picks), dtype=torch.int32)
        self.nearest[picks] = order.to(self.nearest.device)
        self.picks.extend(picks)
        self.rounds += 1


def _pool_picks(points: Points, state: _State, wanted: int, size: int) -> list[int]:
    """Run the greedy algorithm in the pool of the farthest points, while no point outside can be farther."""
    members, outside = _pool(state.squared, size)
    members = members.cpu()
    rows = _rows(points, members.numpy()).cpu().double()
    squared = _exact(points, state, members, rows)
    picks: list[int] = []
    while len(picks) < wanted:
        position = int(squared.argmax())
        farthest = float(squared[position])
        # The pool's first maximum is always valid, because it was among the largest of all.
        if farthest == 0 or (picks and farthest <= outside * (1 + _SLACK)):
            break
        picks.append(int(members[position]))
        squared = torch.minimum(squared, (rows - rows[position]).square().sum(1))
    return picks


def _pool(squared: Tensor, size: int) -> tuple[Tensor, float]:
    """Return indices (ascending) of about ``size`` points of largest distance, and the largest distance outside."""
    if len(squared) <= size:
        return torch.arange(len(squared), device=squared.device), -1.0
    threshold = float(squared.topk(size, sorted=False).values.min())
    members = (squared >= threshold * (1 - _SLACK)).nonzero().squeeze(1)
    if len(members) > 4 * size:  # Of very many equal distances, the lowest indices are taken.
        above = (squared > threshold * (1 + _SLACK)).nonzero().squeeze(1)
        members = torch.unique(torch.cat([above, members[:size]]))
    return members, threshold


def _exact(points: Points, state: _State, members: Tensor, rows: Tensor) -> Tensor:
    """Return the squared distances of the pool's points to their nearest centres, from differences in float64."""
    there = members.to(state.squared.device)
    nearest = state.nearest[there].cpu().long()
    squared = state.squared[there].cpu().double()
    known = nearest >= 0
    if known.any():
        centres = _rows(points, np.array(state.picks)[nearest[known].numpy()]).cpu().double()
        squared[known] = (rows[known] - centres).square().sum(1)
    return squared


def _placed(points: Points, device: torch.device) -> Points:
    """Return the points on the GPU if they fit, else unchanged."""
    if device.type != "cuda":
        return points
    free, _ = torch.cuda.mem_get_info(device)
    if len(points) * points.shape[1] * 2 > _GPU_SHARE * free:
        return points
    there = torch.empty(points.shape, dtype=torch.float16, device=device)
    for begin, block in _blocks(points, 1, _BLOCK):
        if block.dtype != torch.float16:
            return points
        there[begin : begin + len(block)] = block.pin_memory().to(device, non_blocking=True)
    return there


def _sent(block: Tensor, device: torch.device | str) -> Tensor:
    """Return a block on a device; one that is streamed to a GPU goes through pinned memory, so nobody waits for it."""
    if torch.device(device).type == "cuda" and block.device.type == "cpu":
        block = block.pin_memory()
    return block.to(device, non_blocking=True)


def _rows(points: Points, indices: NDArray[np.int64]) -> Tensor:
    if isinstance(points, Tensor):
        return points[torch.from_numpy(np.ascontiguousarray(indices)).to(points.device)]
    return torch.from_numpy(np.ascontiguousarray(points[indices]))


def _blocks(points: Points, width: int, most: int) -> Iterator[tuple[int, Tensor]]:
    """Yield (first index, rows) so that a block times ``width`` columns stays below ``most`` elements."""
    length = max(1, most // max(width, points.shape[1]))
    for begin in range(0, len(points), length):
        if isinstance(points, Tensor):
            yield begin, points[begin : begin + length]
            continue
        yield begin, torch.from_numpy(np.array(points[begin : begin + length]))
