"""Damaged lists of ADer, DiAD and VisA: one clear line that names the list and its record."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.damage import Case, edit_json, edit_text, told


def first_meta(change: dict[str, Any]) -> Callable[[Path], None]:
    def edit(content: Any) -> None:
        content["train"]["bottle"][0].update(change)

    return lambda root: edit_json(root / "meta.json", edit)


def duplicate_meta(root: Path) -> None:
    edit_json(root / "meta.json", lambda meta: meta["train"]["bottle"].append(meta["train"]["bottle"][0]))


def shift_meta(root: Path) -> None:
    """What ADer's generator makes of a stray file among the masks: every mask belongs to the image before."""

    def edit(meta: Any) -> None:
        bad = [one for one in meta["test"]["bottle"] if one["anomaly"] and one["specie_name"] == "broken"]
        masks = [one["mask_path"] for one in bad]
        for one, shifted in zip(bad, ["bottle/ground_truth/broken/.DS_Store", *masks]):
            one["mask_path"] = shifted

    edit_json(root / "meta.json", edit)


def remove_line(path: str, word: str) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        lines = (root / path).read_text().splitlines(keepends=True)
        assert any(word in line for line in lines)
        (root / path).write_text("".join(line for line in lines if word not in line))

    return damage


CSV = "split_csv/1cls.csv"
CASES = [
    Case(
        "path traversal in meta.json",
        "mvtec",
        "ader",
        "index",
        r"etc/passwd.*leaves the data root",
        first_meta({"img_path": "../../etc/passwd"}),
    ),
    Case(
        "absolute path in meta.json",
        "mvtec",
        "ader",
        "index",
        r"/etc/passwd.*leaves the data root",
        first_meta({"img_path": "/etc/passwd"}),
    ),
    Case(
        "hidden traversal in meta.json",
        "mvtec",
        "ader",
        "index",
        r"leaves the data root",
        first_meta({"img_path": "bottle/train/../../../x.png"}),
    ),
    Case(
        "broken meta.json",
        "mvtec",
        "ader",
        "index",
        r"meta.json.*broken JSON.*line",
        lambda root: os.truncate(root / "meta.json", 900),
    ),
    Case(
        "no anomaly key in meta.json",
        "mvtec",
        "ader",
        "index",
        r"meta.json: train.bottle\[0\]: no key 'anomaly'",
        lambda root: edit_json(root / "meta.json", lambda meta: meta["train"]["bottle"][0].pop("anomaly") and None),
    ),
    Case("a label of 2", "mvtec", "ader", "index", r"label 2; expected 0 or 1", first_meta({"anomaly": 2})),
    Case(
        "a number for a path",
        "mvtec",
        "ader",
        "index",
        r"meta.json.*image 5; expected text",
        first_meta({"img_path": 5}),
    ),
    Case("duplicate sample in meta.json", "mvtec", "ader", "index", r"000.png is listed twice", duplicate_meta),
    Case("meta.json with shifted masks", "mvtec", "ader", "index", r"broken//?00\d.png is paired with", shift_meta),
    Case(
        "meta.json lists a missing file",
        "mvtec",
        "ader",
        "files",
        r"good/000.png.*not found",
        lambda root: (root / "bottle/train/good/000.png").unlink(),
    ),
    Case(
        "meta.json is a list",
        "mvtec",
        "ader",
        "index",
        r"meta.json: expected top keys",
        lambda root: (root / "meta.json").write_text("[]"),
    ),
    Case(
        "traversal in JSON lines",
        "mvtec",
        "diad",
        "index",
        r"leaves the data root",
        lambda root: edit_text(root / "train.json", "bottle/train", "../bottle/train"),
    ),
    Case(
        "broken line in JSON lines",
        "mvtec",
        "diad",
        "index",
        r"test.json: line 3: broken JSON",
        lambda root: (root / "test.json").write_text(
            "\n".join(
                line[: -9 * (i == 2) or None] for i, line in enumerate((root / "test.json").read_text().splitlines())
            )
        ),
    ),
    Case(
        "no mask in JSON lines",
        "mvtec",
        "diad",
        "index",
        r"without a mask",
        lambda root: edit_text(root / "test.json", '"maskname"', '"nothing"'),
    ),
    Case(
        "wrong CSV header",
        "visa",
        "owner",
        "index",
        r"1cls.csv: header .*expected object,split,label,image,mask",
        lambda root: edit_text(root / CSV, "object,", "objekt,"),
    ),
    Case(
        "unknown split in the CSV",
        "visa",
        "owner",
        "index",
        r"1cls.csv: line 2: split 'valid'",
        lambda root: edit_text(root / CSV, ",train,", ",valid,"),
    ),
    Case(
        "unknown label in the CSV",
        "visa",
        "owner",
        "index",
        r"1cls.csv: line 2: label 'fine'",
        lambda root: edit_text(root / CSV, ",normal,", ",fine,"),
    ),
    Case(
        "2cls for 1cls",
        "visa",
        "owner",
        "index",
        r"1cls.csv.*anomalous and in the training split",
        lambda root: edit_text(root / CSV, "train,normal", "train,anomaly"),
    ),
    Case(
        "traversal in the CSV",
        "visa",
        "owner",
        "index",
        r"leaves the data root",
        lambda root: edit_text(root / CSV, "pcb1/Data", "../pcb1/Data"),
    ),
    Case(
        "a CSV that is none",
        "visa",
        "owner",
        "index",
        r"1cls.csv: (not a CSV|header)",
        lambda root: (root / CSV).write_bytes(b"\x89PNG\xff\xfe\x00"),
    ),
    Case("an empty CSV", "visa", "owner", "index", r"1cls.csv: not a CSV", lambda root: (root / CSV).write_bytes(b"")),
    Case(
        "the CSV lists a missing image",
        "visa",
        "owner",
        "files",
        r"0000.JPG.*not found",
        lambda root: (root / "pcb1/Data/Images/Normal/0000.JPG").unlink(),
    ),
    Case(
        "an image that the CSV forgot",
        "visa",
        "owner",
        "handled",
        r"Normal.*belongs to no sample: 0000.JPG",
        remove_line(CSV, "pcb1/Data/Images/Normal/0000.JPG"),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}: {case.about}")
def test_damage(case: Case, whole: Callable[[str, str], Path], tmp_path: Path) -> None:
    told(case, whole(case.name, case.layout), tmp_path / "data")
