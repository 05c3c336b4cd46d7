"""``diadbench diad``: the steps of the authors' README, one command each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from diadbench.cli.commands.diad_stages import autoencoder, build, said, tell, train


def evaluate(
    dataset: str,
    *,
    out: str,
    config: str = "diad",
    checkpoint: str | None = None,
    root: str | None = None,
    options: list[str] = [],  # noqa: B006
    protocol: str = "exact",
    batch_size: int = 8,
    seed: int = 0,
    device: str = "auto",
) -> int:
    """Test a DiAD: metrics, and for each image input, reconstruction, map, heat map and a figure.

    Started again with the same checkpoint and options, it goes on with the images that are missing.

    Args:
        dataset: A packaged dataset, or file.py:Class.
        out: Directory of this DiAD; the results go to its directory `test`.
        config: Preset: diad, diad-official, diad-fast, diad-tiny, diad-fast-tiny.
        checkpoint: The authors' .ckpt, one in their layout, a directory of ours or of a finished cell; by default what
            `train` wrote.
        root: Directory of the dataset.
        options: Options of the method as NAME=VALUE, such as steps=10 n_samples=2
        protocol: How the metrics are computed; `diad` is the authors' way.
        batch_size: Images at once. No result depends on it.
        seed: Decides the noise.
        device: auto, cpu, cuda, cuda:1.

    Example::

        diadbench diad test toy --config diad-tiny --out diad-toy
        diadbench diad test mvtec --root data/mvtec --checkpoint diad.ckpt --out theirs --protocol diad
    """
    from diadbench.benchmark.steps.diad_steps import Steps

    return said(Steps(out, config, options, seed, device, tell).test(dataset, root, checkpoint, protocol, batch_size))


def compare(
    dataset: str,
    *,
    out: str,
    config: str = "diad",
    checkpoint: str | None = None,
    root: str | None = None,
    options: list[str] = [],  # noqa: B006
    batch_size: int = 8,
    compiled: bool = False,
    seed: int = 0,
    device: str = "auto",
) -> int:
    """Tell what the faster ways of inference do to the anomaly maps: channels-last, bfloat16, torch.compile.

    Prints, for each, the largest and the mean difference of the maps from plain float32, relative to the largest value
    of the plain maps, both mean AU-ROCs and the seconds an image; writes them to OUT/compare.csv.

    Args:
        dataset: A packaged dataset, or file.py:Class.
        out: Directory of this DiAD.
        config: Preset: diad, diad-official, diad-fast, diad-tiny, diad-fast-tiny.
        checkpoint: As for `test`; what `train` wrote by default.
        root: Directory of the dataset.
        options: Options of the method as NAME=VALUE.
        batch_size: Images at once.
        compiled: Try torch.compile too, which takes minutes (and a C++ compiler on a CPU).
        seed: Decides the noise.
        device: auto, cpu, cuda, cuda:1.

    Example::

        diadbench diad compare toy --config diad-tiny --out diad-toy --compiled
    """
    from diadbench.benchmark.steps.diad_compare import compare_inference
    from diadbench.benchmark.steps.diad_steps import Steps

    steps = Steps(out, config, options, seed, device, tell)
    return said(compare_inference(steps, dataset, root, checkpoint, batch_size, compiled=compiled))


VERBS: dict[str, Callable[..., Any]] = {
    "autoencoder": autoencoder,
    "build": build,
    "train": train,
    "test": evaluate,
    "compare": compare,
}
