"""Files that name images under columns or keys that no reader knows are told, never passed over in silence."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from lists_maker import LISTED, Record, counted, mvtec_class, records

from diadbench.datasets import get
from diadbench.datasets.checking.check import check

HEADS = ["img,cls,set,y,gt", "image_name,class_name,subset,is_anomaly,mask_name", "fname,category,fold,bad,seg"]


def rows_of() -> list[Record]:
    train, test = records()
    return [{"split": "train", **row} for row in train] + [{"split": "test", **row} for row in test]


def table(head: str) -> str:
    keys = ("filename", "clsname", "split", "label", "maskname")
    return "\n".join([head, *(",".join(str(row.get(key, "")) for key in keys) for row in rows_of())]) + "\n"


def renamed(row: Record) -> Record:
    return {"img": row["filename"], "target": row["label"], "fold": row["split"]}


FORMS: dict[str, tuple[str, Callable[[], str], str]] = {
    **{head: ("parts.csv", partial(table, head), head) for head in HEADS},
    "an array": ("all.json", lambda: json.dumps([renamed(row) for row in rows_of()]), "img, target, fold"),
    "an object": ("all.json", lambda: json.dumps({"images": [renamed(row) for row in rows_of()]}), "images, img"),
    "lines": ("all.jsonl", lambda: "\n".join(json.dumps(renamed(row)) for row in rows_of()), "img, target, fold"),
    "paths": ("files.txt", lambda: "\n".join(row["filename"] for row in rows_of()), "bottle/train/good/000.png"),
    "in lists/": ("lists/my.csv", lambda: table(HEADS[0]), HEADS[0]),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_list_with_unknown_columns_or_keys_is_told(form: str, tmp_path: Path) -> None:
    name, text, found = FORMS[form]
    mvtec_class(tmp_path, "bottle")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text())
    for dataset in ("folder", "mvtec"):
        assert counted(dataset, tmp_path) == [5, 2, 3]  # the folders
        (line,) = [one for one in get(dataset, tmp_path).flags if "was not read as a list" in one]
        assert line.startswith(f"{name} names images")
        assert f"found {found}" in line
        told = [one for one in check(dataset, tmp_path, size=16).of("warning") if one.kind == "unread"]
        assert [one.what for one in told] == [line]


@pytest.mark.parametrize("head", ["Image Path,Class,Split,Label,Mask", "IMAGE-PATH, Class Name,Split,Label,Mask Path"])
def test_columns_written_for_people_are_read(head: str, tmp_path: Path) -> None:
    mvtec_class(tmp_path, "bottle")
    (tmp_path / "parts.csv").write_text(table(head))
    assert counted("folder", tmp_path) == LISTED


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("README.txt", "Look at bottle/train/good/000.png,\nand at\nbottle/test/good/000.png and 001.png\n" * 2),
        ("log.csv", "step,loss\n1,0.5\n"),
        ("other.csv", "img,y\n" + "".join(f"screws/{i}.png,0\n" for i in range(9))),
    ],
)
def test_other_texts_say_nothing(name: str, text: str, tmp_path: Path) -> None:
    mvtec_class(tmp_path, "bottle")
    (tmp_path / name).write_text(text)
    assert not [one for one in get("folder", tmp_path).flags if name in one]
