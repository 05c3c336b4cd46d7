"""Whether this process's GPUs may compute with float32 numbers in TF32, by torch's older and newer names for it.

A method's file may use either kind of names. Once the two disagree, torch refuses to answer by the older ones
(https://pytorch.org/docs/stable/notes/cuda.html#tensorfloat-32-tf32-on-ampere-and-later-devices).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple


class Tf32(NamedTuple):
    """What may be computed in TF32.

    Attributes:
        products: Products of float32 matrices.
        convolutions: Convolutions of float32 numbers, and recurrent layers.
    """

    products: bool
    convolutions: bool


def tf32_now() -> Tf32:
    """Return what this process allows."""
    from torch import backends

    return Tf32(*(_is_allowed(older, newer) for older, newer in _names(backends)))


def allow_tf32(allowed: Tf32) -> None:
    """Allow or forbid it, by both kinds of names, so that whoever asks by either is answered.

    torch's newer setting for all devices together is unset, because convolutions would follow it when they are asked
    not to.
    """
    from torch import backends

    everything: tuple[Any, ...] = (backends, backends.cudnn)
    for every in everything:
        if hasattr(every, "fp32_precision"):
            every.fp32_precision = "none"
    for (older, newer), allow in zip(_names(backends), allowed):
        for each in newer:
            each.fp32_precision = "tf32" if allow else "ieee"
        older.allow_tf32 = allow


@contextlib.contextmanager
def full_float32() -> Iterator[None]:
    """Compute without TF32 inside, and as before behind it."""
    before = tf32_now()
    allow_tf32(Tf32(False, False))
    try:
        yield
    finally:
        allow_tf32(before)


def _names(backends: Any) -> list[tuple[Any, list[Any]]]:
    """Return what has the older name, and all that have newer ones (torch 2.9), for products and convolutions."""
    products, cudnn = backends.cuda.matmul, backends.cudnn
    found = [(products, [products]), (cudnn, [getattr(cudnn, name, None) for name in ("conv", "rnn")])]
    return [(older, [each for each in newer if hasattr(each, "fp32_precision")]) for older, newer in found]


def _is_allowed(older: Any, newer: list[Any]) -> bool:
    try:
        return bool(older.allow_tf32)
    except RuntimeError:  # set by newer names, not by all of them alike
        return any(each.fp32_precision == "tf32" for each in newer)
