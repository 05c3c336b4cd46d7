"""Data as people bring it, read by check, prepare and run, which must agree."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from diadbench.common.errors import UserError
from diadbench.datasets import get
from diadbench.datasets.checking.check import check, refuse
from diadbench.datasets.decoding.data_module import DataModule
from diadbench.datasets.samples.paint import Record

ALL = (8, 4, 6)
#: Without one training image of each class, which shows whether the list or the folders decided.
LISTED = (6, 4, 6)


class Read(NamedTuple):
    """What check and a run made of data: the numbers of images, the error, and all that was said."""

    numbers: tuple[int, int, int] | None
    error: str
    checked: str
    flags: str


def read(name: str, root: Path, cache: Path, **options: Any) -> Read:
    """Check and prepare data, which must agree, and count training, normal and anomalous test images."""
    report = check(name, root, size=16, workers=1, **options)
    checked = "\n".join(finding.line() for finding in report.findings)
    try:
        dataset = get(name, root, **options)
        refuse(dataset)
        data = DataModule(dataset, 16, cache_dir=cache, workers=1)
        data.prepare()
        flags = "\n".join([*dataset.flags, *data.notes])
    except UserError as caught:
        error = str(caught)
    else:
        error = ""
    assert report.ok == (not error), f"check: {checked}; run: {error}"
    assert "\n" not in error
    if error:
        return Read(None, error, checked, "")
    train, test = (dataset.samples[dataset.samples["split"] == split]["label"] for split in ("train", "test"))
    return Read((len(train), int((test == 0).sum()), int(test.sum())), "", checked, flags)


def first_train(root: Path) -> Path:
    """Return the first training image of the sample."""
    return root / "bottle/train/good/000.png"


def some_mask(root: Path) -> Path:
    """Return a mask of the sample."""
    return root / "bottle/ground_truth/broken/000_mask.png"


def json_lines(records: Sequence[Record], split: str) -> str:
    """Return the list of a split as JSON lines."""
    rows = []
    for one in records:
        if one.split == split:
            row = {"filename": one.image, "label": one.label, "clsname": one.cls}
            rows.append(json.dumps({**row, **({"maskname": one.mask} if one.label else {})}))
    return "\n".join(rows) + "\n"


def write_lists(root: Path, records: Sequence[Record]) -> None:
    """Write ``train.json`` and ``test.json`` of records."""
    for split in ("train", "test"):
        (root / f"{split}.json").write_text(json_lines(records, split))
