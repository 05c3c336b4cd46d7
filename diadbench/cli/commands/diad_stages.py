"""``diadbench diad autoencoder``, ``build`` and ``train``: the stages of a training."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diadbench.benchmark.steps.diad_steps import Made


def autoencoder(
    dataset: str,
    *,
    out: str,
    config: str = "diad",
    root: str | None = None,
    options: list[str] = [],  # noqa: B006 - a parser's default
    seed: int = 0,
    device: str = "auto",
) -> int:
    """Finetune the autoencoder on normal images (stage 1). Started again, it goes on from its last checkpoint.

    Args:
        dataset: A packaged dataset, or file.py:Class.
        out: Directory of this DiAD; the later steps read what is there.
        config: Preset: diad, diad-official, diad-fast, diad-tiny, diad-fast-tiny. Its autoencoder_steps must be above
            0.
        root: Directory of the dataset.
        options: Options of the method as NAME=VALUE; `diadbench methods info diad` lists them.
        seed: Decides everything random.
        device: auto, cpu, cuda, cuda:1.

    Example::

        diadbench diad autoencoder toy --config diad-tiny --out diad-toy
    """
    from diadbench.benchmark.steps.diad_steps import Steps

    return said(Steps(out, config, options, seed, device, tell).autoencoder(dataset, root))


def build(
    *,
    out: str,
    config: str = "diad",
    options: list[str] = [],  # noqa: B006
    seed: int = 0,
) -> int:
    """Put the start of stage 2 together: weights, the autoencoder if it was finetuned, the SG network, SFF.

    Args:
        out: Directory of this DiAD.
        config: Preset: diad, diad-official, diad-fast, diad-tiny, diad-fast-tiny.
        options: Options of the method as NAME=VALUE, such as weights=FOLDER autoencoder=FILE sff_init=official
        seed: Decides everything random.

    Example::

        diadbench diad build --config diad-tiny --out diad-toy
    """
    from diadbench.benchmark.steps.diad_steps import Steps

    return said(Steps(out, config, options, seed, "cpu", tell).build())


def train(
    dataset: str,
    *,
    out: str,
    config: str = "diad",
    root: str | None = None,
    options: list[str] = [],  # noqa: B006
    seed: int = 0,
    device: str = "auto",
) -> int:
    """Train the SG network and the UNet's decoder (stage 2). Started again, it goes on from its last checkpoint.

    Args:
        dataset: A packaged dataset, or file.py:Class.
        out: Directory of this DiAD, with what `build` wrote.
        config: Preset: diad, diad-official, diad-fast, diad-tiny, diad-fast-tiny.
        root: Directory of the dataset.
        options: Options of the method as NAME=VALUE.
        seed: Decides everything random.
        device: auto, cpu, cuda, cuda:1.

    Example::

        diadbench diad train toy --config diad-tiny --out diad-toy
    """
    from diadbench.benchmark.steps.diad_steps import Steps

    return said(Steps(out, config, options, seed, device, tell).train(dataset, root))


def said(made: Made) -> int:
    """Print what a step has made: figures, notes, the place."""
    if made.table is not None:
        print(made.table.to_string(index=False, float_format=lambda value: f"{value:.6g}"))
    for note in made.notes:
        print(f"note: {note}")
    print(f"{made.what}: {made.path}")
    return 0


def tell(done: int, total: int, what: str) -> None:
    """Print progress about every tenth of the way."""
    if done == total or done % max(total // 10, 1) == 0:
        print(f"{what}: {done}/{total}", flush=True)
