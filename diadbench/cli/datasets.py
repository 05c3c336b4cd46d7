"""``diadbench datasets``."""

from __future__ import annotations


def list_datasets(*, data_root: str | None = None) -> int:
    """List the datasets, and where each was found on this machine.

    Args:
        data_root: Look below this directory, before DIADBENCH_DATA and the user's config file.

    Example::

        diadbench datasets list
        DIADBENCH_DATA=/data diadbench datasets list
    """
    from diadbench.datasets.catalog import CATALOG
    from diadbench.datasets.registry import names
    from diadbench.datasets.roots import where

    print(f"{'name':<12}{'title':<14}{'classes':>7}  where")
    for name in names():
        known = CATALOG.get(name)
        title, count = (known.info.title, len(known.info.classes)) if known else ("(plug-in)", 0)
        print(f"{name:<12}{title:<14}{count or '-':>7}  {where(name, data_root)}")
    return 0


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
        name: mvtec, visa, realiad, unimedical, coco_ad, mvtec3d, btad, mpdd or mvtec_loco.
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
    print(f"{len(records):,} samples of {name} ({layout}): {out}")
    return 0


VERBS = {"list": list_datasets, "make-sample": make_sample}
