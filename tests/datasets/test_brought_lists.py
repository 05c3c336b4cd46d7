"""Lists as people write them decide, or are refused with file and line, by check, prepare and run alike."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from diadbench.datasets.samples.paint import Record
from tests.helpers.brought import LISTED, json_lines, read, some_mask, write_lists


def listed(records: Sequence[Record]) -> list[Record]:
    return [one for one in records if not (one.split == "train" and one.image.endswith("003.png"))]


def table(
    records: Sequence[Record], *, sep: str = ",", where: str = "", head: str = "path,class,split,label,mask"
) -> str:
    rows = [head.replace(",", sep)]
    for one in records:
        mask = f"{where}{one.mask}" if one.label else ""
        rows.append(sep.join([f"{where}{one.image}", one.cls, one.split, str(one.label), mask]))
    return "\n".join(rows) + "\n"


def labels(records: Sequence[Record]) -> str:
    words = {0: ("OK", "Training"), 1: ("NG", "Testing")}
    rows = ["path,class,split,label,mask"]
    for one in records:
        split = "Training" if one.split == "train" else "testing"
        rows.append(f"{one.image},{one.cls},{split},{words[one.label][0]},{one.mask if one.label else ''}")
    return "\n".join(rows)


TABLES: dict[str, Callable[[list[Record]], str | bytes]] = {
    "a mark, capitals": lambda rows: ("\ufeff" + table(rows, head="Path,Class,Split,Label,Mask")).encode(),
    "a remark first": lambda rows: "# my split of May\n" + table(rows),
    "Excel's sep": lambda rows: "sep=;\n" + table(rows, sep=";"),
    "OK and NG, Training and testing": labels,
    "below the root's own name": lambda rows: table(rows, where="data/"),
    "below the names of two folders": lambda rows: table(rows, where="./{above}/data/"),
    "backslashes": lambda rows: table(rows).replace("/", "\\"),
}


@pytest.mark.parametrize("kind", TABLES)
def test_tables_that_people_write_decide(kind: str, brought: tuple[Path, list[Record]], tmp_path: Path) -> None:
    root, records = brought
    content = TABLES[kind](listed(records))
    content = content.replace("{above}", tmp_path.name) if isinstance(content, str) else content
    (root / "samples.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert read("folder", root, tmp_path / "cache").numbers == LISTED


REFUSED: dict[str, tuple[str, Callable[[list[Record]], str | bytes], str]] = {
    "another encoding": (
        "samples.csv",
        lambda rows: table(rows, where="").replace("bottle,", "瓶子,").encode("gbk"),
        r"samples.csv: .*line 2: byte .* is not UTF-8",
    ),
    "paths without records": (
        "split.json",
        lambda rows: json.dumps(
            {split: [one.image for one in rows if one.split == split] for split in ("train", "test")}
        ),
        r"split.json: train\[0\]: expected an object",
    ),
    "a drive": ("samples.csv", lambda rows: table(rows, where="D:/data/"), r"line 2: .*leaves the data root.*relative"),
    "an address": ("samples.csv", lambda rows: table(rows, where="https://x.org/"), r"line 2: .*web address"),
    "a web page": ("train.json", lambda rows: "<!DOCTYPE html><html>404</html>", r"train.json: a web page"),
    "a git-LFS pointer": ("train.json", lambda rows: "version https://git-lfs.github.com/spec/v1\n", r"git lfs pull"),
    "masks as arrays": (
        "samples.csv",
        lambda rows: table(rows).replace("_mask.png", "_mask.npy"),
        r"line \d+: mask .*npy",
    ),
    "spellings of a class": (
        "samples.csv",
        lambda rows: table([rows[0]._replace(cls="Bottle"), *rows[1:]]),
        r"'Bottle' has no test images; there is 'bottle' too",
    ),
    "one path in two spellings": (
        "samples.csv",
        lambda rows: table([*rows, rows[0]._replace(image=rows[0].image.replace("good/", "good/../good/"))]),
        r"samples.csv: line 20: .*listed twice.*first in .*line 2",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_other_lists_are_refused_with_file_and_line(
    kind: str, brought: tuple[Path, list[Record]], tmp_path: Path
) -> None:
    root, records = brought
    name, content, said = REFUSED[kind]
    made = content(list(records))
    (root / name).write_bytes(made if isinstance(made, bytes) else made.encode())
    found = read("folder", root, tmp_path / "cache")
    assert found.numbers is None
    assert re.search(said, found.error)


@pytest.mark.parametrize("kind", ["gone", "a folder", "a pipe", "a mask"])
def test_a_missing_file_is_told_with_the_line_that_names_it(
    kind: str, brought: tuple[Path, list[Record]], tmp_path: Path
) -> None:
    root, records = brought
    write_lists(root, records)
    path = some_mask(root) if kind == "a mask" else root / [one for one in records if one.split == "train"][2].image
    path.unlink()
    if kind == "a folder":
        path.mkdir()
    elif kind == "a pipe":
        os.mkfifo(path)
    found = read("mvtec", root, tmp_path / "cache")
    bad = [one.mask for one in records if one.split == "test"].index("bottle/ground_truth/broken/000_mask.png") + 1
    line = f"test.json: line {bad}" if kind == "a mask" else "train.json: line 3"
    assert found.error.endswith(line)
    assert line in found.checked


def test_a_third_list_is_told(brought: tuple[Path, list[Record]], tmp_path: Path) -> None:
    root, records = brought
    write_lists(root, listed(records))
    (root / "val.json").write_text(json_lines([one for one in records if one.image.endswith("003.png")], "train"))
    (root / "split.xlsx").write_bytes(b"PK")
    found = read("folder", root, tmp_path / "cache")
    assert found.numbers == LISTED
    for text in (found.checked, found.flags):
        assert "val.json" in text
        assert "split.xlsx" in text
