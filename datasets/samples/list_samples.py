"""Write a sample's records in the list formats of the field."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from diadbench.datasets.samples.paint import Record, touch


def write_meta(path: Path, records: Iterable[Record], *, splits: Iterable[str] = ("train", "test")) -> None:
    """Write ADer's ``meta.json`` as its generator does, with a doubled slash before the names of MVTec's images."""
    meta: dict[str, dict[str, list[dict[str, object]]]] = {split: {} for split in splits}
    for record in records:
        split = "validation" if "/validation/" in record.image else record.split
        folder, _, name = record.image.rpartition("/")
        entry = {
            "img_path": f"{folder}//{name}" if "/rgb/" not in record.image else record.image,
            "mask_path": record.mask,
            "cls_name": record.cls,
            "specie_name": record.defect,
            "anomaly": record.label,
        }
        if split in meta:
            meta[split].setdefault(record.cls, []).append(entry)
    touch(path, json.dumps(meta, indent=4) + "\n")


def write_lines(train: Path, test: Path, records: Iterable[Record]) -> None:
    """Write the JSON lines of UniAD and DiAD."""
    texts = {"train": "", "test": ""}
    for record in records:
        line: dict[str, object] = {
            "filename": record.image,
            "label": record.label,
            "label_name": "defective" if record.label else "good",
            "clsname": record.cls,
        }
        if record.label:
            line["maskname"] = record.mask
        texts[record.split] += json.dumps(line) + "\n"
    touch(train, texts["train"])
    touch(test, texts["test"])
