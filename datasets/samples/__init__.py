"""Synthetic datasets in the exact layouts of real ones, for tests and for dry runs before a download."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from filelock import FileLock

from diadbench.common.cache.disk_space import writing
from diadbench.common.cache.usage import mark_used
from diadbench.common.errors import UserError, unknown_name
from diadbench.common.files import atomic_directory, cache_dir
from diadbench.datasets.base import SAMPLE_MARKER
from diadbench.datasets.facts.known_sets import info
from diadbench.datasets.samples.beside_samples import write_dagm, write_kolektorsdd, write_kolektorsdd2
from diadbench.datasets.samples.coco_sample import write_coco
from diadbench.datasets.samples.folder_samples import write_folders, write_mvtec, write_mvtec3d, write_unimedical
from diadbench.datasets.samples.mvtec_ad_2_sample import write_mvtec_ad_2
from diadbench.datasets.samples.paint import Record, Spec
from diadbench.datasets.samples.realiad_sample import write_realiad
from diadbench.datasets.samples.visa_sample import write_visa

Writer = Callable[[Path, Spec, str], list[Record]]
#: Part of the name of a cached sample. Raise it when samples change.
_VERSION = 2
_WRITERS: dict[str, tuple[Writer, tuple[str, ...]]] = {
    "mvtec": (write_mvtec, ("owner", "ader", "diad", "uniad")),
    "visa": (write_visa, ("owner", "ader", "diad", "relaid", "anomalib")),
    "realiad": (write_realiad, ("owner", "ader", "anomalib")),
    "unimedical": (write_unimedical, ("owner", "ader", "bmad", "anomalib")),
    "coco_ad": (write_coco, ("owner", "ader")),
    "mvtec3d": (write_mvtec3d, ("owner", "ader", "diad")),
    "btad": (partial(write_folders, "btad"), ("owner", "ader")),
    "mpdd": (partial(write_folders, "mpdd"), ("owner", "ader")),
    "mvtec_loco": (partial(write_folders, "mvtec_loco"), ("owner", "ader")),
    "mvtec_ad_2": (write_mvtec_ad_2, ("owner",)),
    "kolektorsdd": (write_kolektorsdd, ("owner",)),
    "kolektorsdd2": (write_kolektorsdd2, ("owner",)),
    "dagm": (write_dagm, ("owner",)),
    "3cad": (partial(write_folders, "3cad"), ("owner",)),
}


def sample_names() -> list[str]:
    """Return the datasets of which a sample can be made."""
    return list(_WRITERS)


def layouts(name: str) -> tuple[str, ...]:
    """Return the layouts that a sample of a dataset can be written in; the first is the owner's. Raises UserError."""
    if name not in _WRITERS:
        raise unknown_name("dataset to make a sample of", name, _WRITERS)
    return _WRITERS[name][1]


def make_sample(
    name: str,
    out: Path | str,
    *,
    layout: str = "owner",
    classes: Sequence[str] | None = None,
    train: int = 4,
    good: int = 2,
    bad: int = 3,
    size: int = 64,
    seed: int = 0,
    full: bool = False,
) -> list[Record]:
    """Write a small synthetic dataset in the exact layout of a real one, including its irregularities.

    Args:
        name: One of :func:`sample_names`.
        out: Directory to make; it may exist if it is empty.
        layout: One of :func:`layouts`.
        classes: Write these classes only.
        train: Training images per class (physical samples of five views in Real-IAD).
        good: Normal test images per class.
        bad: Anomalous test images per class.
        size: Side of the images in pixels.
        seed: Seed of every pixel; the same seed gives the same bytes.
        full: As many samples as the real set has (Real-IAD: 151,050 images). For timing; give a small ``size``.

    Returns:
        The written records, which an adapter must find again.

    Raises:
        UserError: Unknown dataset, layout or class, a directory that isn't empty or can't be written, a bad number.
    """
    writer = _checked(name, layout, classes, {"train": train, "good": good, "bad": bad, "size": size}, full)
    chosen = tuple(one for one in info(name).classes if classes is None or one in classes)
    spec = Spec(chosen, train, good, bad, size, seed, pool=16 if full else 0)
    out = Path(out).expanduser()
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise UserError(f"{out}: not empty; give a new directory for the sample")
        records = write_realiad(out, spec, layout, full=True) if full else writer(out, spec, layout)
        (out / SAMPLE_MARKER).write_text(
            f"synthetic sample of {name}, layout {layout}, seed {seed}\n", encoding="utf-8"
        )
    return records


def cached_sample(name: str, layout: str = "owner") -> Path:
    """Return the directory of a sample in the cache, made on first use. Several processes may call it at once.

    Raises:
        UserError: Unknown dataset or layout, or the cache can't be written.
    """
    layouts(name)
    home = cache_dir() / "samples"
    target = home / f"{name}-{layout}-{_VERSION}"
    mark_used(target)
    if target.is_dir():
        return target
    with writing(home):
        home.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"):
            if not target.is_dir():
                with atomic_directory(target) as temporary:
                    make_sample(name, temporary, layout=layout)
    return target


def _checked(name: str, layout: str, classes: Sequence[str] | None, numbers: dict[str, int], full: bool) -> Writer:
    if layout not in layouts(name):
        raise unknown_name("layout", layout, layouts(name), where=f"dataset {name!r}")
    for one in classes or ():
        if one not in info(name).classes:
            raise unknown_name("class", one, info(name).classes, where=f"dataset {name!r}")
    for what, number in numbers.items():
        least = 8 if what == "size" else 1
        if number < least:
            raise UserError(f"{what} {number}: expected {least} or more")
    if full and name != "realiad":
        raise UserError(f"full: known for realiad only, not for {name}")
    return _WRITERS[name][0]
