"""``diadbench datasets``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from diadbench.cli.commands.datasets_make import make_sample, prepare
from diadbench.cli.dataset_words import dataset_options
from diadbench.cli.terminal_bar import terminal_bar


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

    every = names()
    wide = max(map(len, every)) + 2
    print(f"{'name':<{wide}}{'title':<14}{'classes':>7}  where")
    for name in every:
        known = CATALOG.get(name)
        title, count = (known.info.title, len(known.info.classes)) if known else ("(plug-in)", 0)
        print(f"{name:<{wide}}{title:<14}{count or '-':>7}  {where(name, data_root)}")
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

    chosen = dataset_options(name, options) | ({} if layout == "auto" else {"layout": layout})
    with terminal_bar(json) as progress:
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

    chosen = dataset_options(name, options)
    print(info_text(name, root))
    if sheet is not None:
        print(f"\ncontact sheet: {contact_sheet(name, root, sheet, **chosen)}")
    return 0


VERBS: dict[str, Callable[..., Any]] = {
    "list": list_datasets,
    "check": check,
    "info": info,
    "prepare": prepare,
    "make-sample": make_sample,
}
