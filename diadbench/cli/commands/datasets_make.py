"""``diadbench datasets make-sample`` and ``prepare``: the verbs that write."""

from __future__ import annotations

from diadbench.cli.dataset_words import dataset_options
from diadbench.cli.terminal_bar import terminal_bar
from diadbench.common.wording import counted


def make_sample(
    name: str,
    *,
    out: str,
    layout: str = "owner",
    classes: list[str] = [],  # noqa: B006 - never changed; a parser's default
    train: int = 4,
    good: int = 2,
    bad: int = 3,
    size: int = 64,
    seed: int = 0,
    full: bool = False,
) -> int:
    """Write a small synthetic data set in the exact layout of a real one.

    Args:
        name: mvtec, visa, realiad, unimedical, coco_ad ...; a wrong name lists all that it can be.
        out: Directory to make.
        layout: owner, ader, and others that the dataset goes by; a wrong name lists them.
        classes: These classes only.
        train: Training images of a class (samples of five views in Real-IAD).
        good: Normal test images of a class.
        bad: Anomalous test images of a class.
        size: Side of the images in pixels.
        seed: Decides every pixel.
        full: As many images as the real set has (realiad), to time things; give a small size.

    Example::

        diadbench datasets make-sample visa --out /tmp/visa
        diadbench datasets check visa --root /tmp/visa
    """
    from diadbench.datasets import samples

    records = samples.make_sample(
        name,
        out,
        layout=layout,
        classes=classes or None,
        train=train,
        good=good,
        bad=bad,
        size=size,
        seed=seed,
        full=full,
    )
    print(f"{counted(len(records), 'sample')} of {name} ({layout}): {out}")
    return 0


def prepare(name: str, options: list[str], *, root: str | None = None, size: int = 256, download: bool = False) -> int:
    """Index a dataset and decode it into the cache, ahead of a run. Nothing is written into the dataset.

    Killed, it goes on where it was. For coco_ad it makes the four splits and their masks.

    Args:
        name: A registered dataset.
        options: Options of the dataset, as in a grid: split=1
        root: Its directory; without it the places of `diadbench datasets list`.
        size: Image size of the runs to come.
        download: Get the dataset from its owner first, if it isn't there, into --root or the data root. Where the owner
            wants a form or an account, the page is named. Broken off, the same command goes on.

    Example::

        diadbench datasets prepare coco_ad --root /data/coco
        diadbench datasets prepare visa --download --root /data/visa
    """
    from diadbench.datasets.checking.prepare import prepare as run_prepare

    if download:
        root = _download(name, root)
    with terminal_bar(False) as progress:
        made = run_prepare(name, root, size=size, progress=progress, **dataset_options(name, options))
    print(f"{made.samples:,} samples of {made.classes} classes at {size} px: {made.cache}")
    if made.vanished:
        print(f"masks that vanish at {size} px: {sum(made.vanished.values())}")
    return 0


def _download(name: str, root: str | None) -> str:
    """Get a dataset that isn't there, with a bar on a terminal; return its directory."""
    from diadbench.datasets.downloading.download import download

    with terminal_bar(False, sizes=True) as progress:
        made = download(name, root, progress=progress, say=lambda line: print(line, flush=True))
    if not made.new:
        print(made.verdict)
    return str(made.root)
