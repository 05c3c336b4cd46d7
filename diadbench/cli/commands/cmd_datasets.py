"""``diadbench datasets``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def list_datasets(*, data_root: str | None = None) -> int:
    """List the datasets, and where each was found on this machine.

    Args:
        data_root: Look below this directory, before DIADBENCH_DATA and the user's config file.

    Example::

        diadbench datasets list
        DIADBENCH_DATA=/data diadbench datasets list
    """
    from diadbench.datasets.facts.known_sets import CATALOG
    from diadbench.datasets.layouts.roots import where
    from diadbench.datasets.lookup import names

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
    print(f"{len(records):,} samples of {name} ({layout}): {out}")
    return 0


def check(
    name: str,
    options: list[str],
    *,
    root: str | None = None,
    layout: str = "auto",
    size: int = 256,
    json: bool = False,
    strict: bool = False,
    all: bool = False,
) -> int:
    """Check a dataset on this machine: structure, counts, every file, masks, duplicates, extras.

    Exit code 0: well; 1: something is wrong; 2: the dataset isn't there.

    Args:
        name: A registered dataset.
        options: Options of the dataset, as in a grid: split=1 classes=[bottle,cable]
        root: Its directory; without it the places of `diadbench datasets list`.
        layout: Check this layout where several are there.
        size: Evaluation size in pixels; masks that vanish at it are counted.
        json: Print JSON, with every finding.
        strict: Warnings count as errors for the exit code.
        all: Print every finding, not the first twenty of each kind.

    Example::

        diadbench datasets check mvtec --root /data/mvtec
        diadbench datasets check mvtec3d validation=true
        diadbench datasets check visa --json > visa.json
    """
    from diadbench.datasets.checking.check import check as run_check

    chosen = _options(name, options) | ({} if layout == "auto" else {"layout": layout})
    with _progress(json) as progress:
        report = run_check(name, root, size=size, progress=progress, **chosen)
    if json:
        from json import dumps

        print(dumps(report.to_json(), indent=2, ensure_ascii=False))
    else:
        print(report.text(everything=all))
    return report.exit_code(strict=strict)


def info(name: str, options: list[str], *, root: str | None = None, sheet: str | None = None) -> int:
    """Say what a dataset is: counts, licence, where to get it, what its folder must look like.

    Args:
        name: A registered dataset.
        options: Options of the dataset, for the contact sheet, as in a grid: split=1
        root: Its directory, for the contact sheet.
        sheet: Draw a PNG with a row of images for each class into this file.

    Example::

        diadbench datasets info visa
        diadbench datasets info visa --root /data/visa --sheet visa.png
    """
    from diadbench.datasets.checking.contact_sheet import contact_sheet
    from diadbench.datasets.checking.describe import info_text

    chosen = _options(name, options)
    print(info_text(name, root))
    if sheet is not None:
        print(f"\ncontact sheet: {contact_sheet(name, root, sheet, **chosen)}")
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
    with _progress(False) as progress:
        made = run_prepare(name, root, size=size, progress=progress, **_options(name, options))
    print(f"{made.samples:,} samples of {made.classes} classes at {size} px: {made.cache}")
    if made.vanished:
        print(f"masks that vanish at {size} px: {sum(made.vanished.values())}")
    return 0


def _download(name: str, root: str | None) -> str:
    """Get a dataset that isn't there, with a bar on a terminal; return its directory."""
    from diadbench.datasets.downloading.download import download

    with _progress(False, sizes=True) as progress:
        made = download(name, root, progress=progress, say=lambda line: print(line, flush=True))
    if not made.new:
        print(made.verdict)
    return str(made.root)


def _options(name: str, words: list[str]) -> dict[str, Any]:
    """Read ``key=value`` words as options of a dataset. Raises UserError for unknown ones and wrong types."""
    if not words:
        return {}
    from diadbench.benchmark.planning.grid import parse_overrides
    from diadbench.benchmark.planning.resolve import checked_options
    from diadbench.datasets.lookup import get_class

    given = parse_overrides(words)
    checked = checked_options(get_class(name), given, f"dataset {name!r}")
    return {key: checked[key] for key in given}


@contextmanager
def _progress(quiet: bool, sizes: bool = False) -> Iterator[Callable[[int, int, str], None] | None]:
    """Show a bar on the terminal's standard error, with sizes and speed for ``sizes``; nothing without a terminal."""
    import sys

    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

    columns = [*Progress.get_default_columns(), *([DownloadColumn(), TransferSpeedColumn()] if sizes else [])]
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=None)

        def tell(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total or None, description=what or "reading")

        yield tell


VERBS = {"list": list_datasets, "check": check, "info": info, "prepare": prepare, "make-sample": make_sample}
