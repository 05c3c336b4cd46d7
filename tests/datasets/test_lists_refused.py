"""A list of samples that can't be read is refused with its file and line; nobody passes it over."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lists_maker import LISTED, Record, Write, counted, lines, mvtec_class, records, write_lists

from diadbench.common.errors import UserError
from diadbench.datasets import get
from diadbench.datasets.checking.check import check
from diadbench.datasets.table import count


def at(number: int, change: Callable[[Record], Any]) -> Write:
    """Change one record of the test list (the first is 1)."""
    return lambda rows: lines([change(dict(row)) if i + 1 == number else row for i, row in enumerate(rows)])


REFUSED: dict[str, tuple[Write, str]] = {
    "filename is null": (at(2, lambda row: row | {"filename": None}), r"line 2: image null; expected text"),
    "filename is a number": (at(2, lambda row: row | {"filename": 7}), r"line 2: image 7; expected text"),
    "filename is empty": (at(2, lambda row: row | {"filename": ""}), r"line 2: image '' \(key 'filename'\)"),
    "filename is a list": (
        at(2, lambda row: row | {"filename": ["a.png"]}),
        r"line 2: image \['a.png'\]; expected text",
    ),
    "no filename": (at(2, lambda row: {"label": 0, "clsname": "bottle"}), r"line 2: no key 'filename'"),
    "clsname is null": (at(2, lambda row: row | {"clsname": None}), r"line 2: class null; expected text"),
    "clsname is a number": (at(2, lambda row: row | {"clsname": 3}), r"line 2: class 3; expected text"),
    "a label of 2": (at(2, lambda row: row | {"label": 2}), r"line 2: label 2; expected 0 or 1"),
    "a label of null": (at(2, lambda row: row | {"label": None}), r"line 2: label null; expected 0 or 1"),
    "a label that contradicts its name": (at(3, lambda row: row | {"label": 0}), r"line 3: label 0 and label_name"),
    "no label": (at(2, lambda row: {"filename": "a.png", "clsname": "x"}), r"line 2: no key 'label'"),
    "mask is a number": (at(3, lambda row: row | {"maskname": 1}), r"line 3: mask 1; expected text"),
    "mask of another image": (
        at(3, lambda row: row | {"maskname": row["maskname"].replace("000", "001")}),
        r"line 3: .*scratch/000\.png is paired with .*001_mask\.png",
    ),
    "one mask is missing": (at(3, lambda row: row | {"maskname": ""}), r"line 3: .*without a mask"),
    "an image twice": (lambda rows: lines([*rows, rows[0]]), r"line 6: .*listed twice.*line 1"),
    "a training image": (
        lambda rows: lines([*rows, records()[0][0]]),
        r"line 6: .*listed twice.*train\.json: line 1",
    ),
    "out of the root": (at(1, lambda row: row | {"filename": "../../x.png"}), r"line 1: .*'\.\./\.\./x\.png' leaves"),
    "an absolute path": (at(1, lambda row: row | {"filename": "/etc/x.png"}), r"line 1: .*'/etc/x\.png' leaves"),
    "another drive": (at(1, lambda row: row | {"filename": "C:\\x.png"}), r"line 1: .*leaves the data root"),
    "a line cut off": (lambda rows: lines(rows)[:-30], r"line 5: broken JSON"),
    "an array cut off": (lambda rows: json.dumps(rows, indent=1)[:-30], r"broken JSON \(.*line \d+"),
    "a text between": (lambda rows: lines(rows).replace("\n", "\nhello\n", 1), r"line 2: broken JSON"),
    "a list between": (lambda rows: lines(rows).replace("\n", "\n[1]\n", 1), r"line 2: expected an object"),
    "a key twice": (
        lambda rows: lines(rows).replace("{", '{"label": 0, ', 1),
        r"line 1: broken JSON \(key 'label' stands twice",
    ),
    "nothing": (lambda rows: "", r"the file is empty"),
    "spaces": (lambda rows: " \n \n", r"the file is empty"),
    "an empty array": (lambda rows: "[]", r"no samples"),
    "an array of numbers": (lambda rows: "[1, 2]", r"expected an object"),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("name", ["mvtec", "folder"])
def test_the_rest_is_one_line_with_file_and_line(name: str, kind: str, root: Path) -> None:
    write, says = REFUSED[kind]
    train, test = records()
    write_lists(root, lines(train), write(test))
    with pytest.raises(UserError, match=rf"test\.json: .*{says}|test\.json: {says}") as caught:
        _ = get(name, root).samples
    assert "\n" not in str(caught.value)
    report = check(name, root, size=24)
    assert not report.ok
    assert report.findings[0].what == str(caught.value)
    # who wants the folders says so
    folders = root / "mvtec_anomaly_detection"
    assert counted(name, folders, layout="owner" if name == "mvtec" else "folders") == [5, 2, 3]


@pytest.mark.parametrize("content", [b"\x89PNG\xff\xfe", '{"filename": "ä.png"}\n'.encode("latin-1")])
def test_other_encodings_are_refused(content: bytes, root: Path) -> None:
    write_lists(root, lines(records()[0]), "")
    (root / "test.json").write_bytes(lines(records()[1]).encode() + content)
    with pytest.raises(UserError, match=r"test\.json: line 6: byte 0x.. is not UTF-8; save it as UTF-8"):
        _ = get("mvtec", root).samples


@pytest.mark.parametrize(("there", "missing"), [("train", "test"), ("test", "train")])
@pytest.mark.parametrize("suffix", ["json", "jsonl", "csv"])
def test_half_a_pair_is_refused(there: str, missing: str, suffix: str, root: Path) -> None:
    rows = records()[there == "test"]
    table = [["path", "class", "label", "mask"]]
    table += [[row["filename"], row["clsname"], str(row["label"]), row.get("maskname", "")] for row in rows]
    text = "\n".join(map(",".join, table)) if suffix == "csv" else lines(rows)
    (root / f"{there}.{suffix}").write_text(text)
    for name in ("mvtec", "folder"):
        with pytest.raises(
            UserError, match=rf"{there}\.{suffix}: .*no list of {missing} .*expected {missing}\.{suffix}"
        ):
            _ = get(name, root).samples


def test_two_different_lists_of_one_split_are_refused(root: Path) -> None:
    train, test = records()
    write_lists(root, lines(train), lines(test))
    (root / "train.jsonl").write_text(lines(train))
    assert counted("mvtec", root) == LISTED  # the same list twice
    (root / "train.jsonl").write_text(lines(train[:-1]))
    with pytest.raises(UserError, match=r"two different lists of train samples, train\.json and train\.jsonl"):
        _ = get("mvtec", root).samples


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("path,class,split,label,mask\nbottle/train/good/000.png,bottle,val,0,\n", r"line 2: split 'val'"),
        ("path,class,split,label,mask\nbottle/train/good/000.png,bottle,train,?,\n", r"line 2: label '\?'"),
        ("path,class,split,label,mask\nbottle/train/good/000.png,bottle,train\n", r"line 2: 3 fields; expected 5"),
        ("path,class,split,label,mask\na.png,b,train,0,,,\n", r"line 2: 7 fields; expected 5"),
        ("path,split,label,mask\nbottle/train/good/000.png,train,0,\n", r"header .*no column for the class"),
        ('path,class,split,label,mask\n"bottle/x.png,bottle,train,0,\n', r"not a CSV file \(line \d"),
        ("path,class,split,label,mask\nbottle/train/good/000.png,bottle,train,1,\n", r"line 2: .*training split"),
        ("path,class,split,label,label\nbottle/x.png,b,train,0,0\n", r"header .*column label stands twice"),
    ],
)
def test_tables_that_are_refused(text: str, says: str, root: Path) -> None:
    (root / "mine.csv").write_text(text)
    for name in ("mvtec", "folder"):
        with pytest.raises(UserError, match=rf"mine\.csv: {says}"):
            _ = get(name, root).samples


@pytest.mark.parametrize(("suffix", "between"), [("txt", " "), ("csv", ","), ("csv", ";")])
def test_lists_without_a_header_are_refused(suffix: str, between: str, root: Path) -> None:
    for name, rows in zip(("train", "test"), records()):
        text = "".join(f"{row['filename']}{between}{row['label']}\n" for row in rows)
        (root / f"{name}.{suffix}").write_text(text)
    for name in ("mvtec", "folder"):
        with pytest.raises(UserError, match=rf"train\.{suffix}: header .*expected .*path,class,split,label,mask"):
            _ = get(name, root).samples


def test_a_list_that_is_a_link_to_nowhere_is_refused(root: Path) -> None:
    write_lists(root, *map(lines, records()))
    (root / "train.json").unlink()
    (root / "train.json").symlink_to("nowhere.json")
    with pytest.raises(UserError, match=r"train\.json: can't be read"):
        _ = get("mvtec", root).samples


def test_pythons_dict_of_splits(root: Path) -> None:
    train, test = records()
    (root / "meta.json").write_text(repr({"train": {"bottle": train}, "test": {"bottle": test}}))
    assert counted("mvtec", root) == LISTED


@pytest.mark.parametrize("form", ["one file", "pairs"])
def test_a_list_for_each_class_is_one_list(form: str, root: Path) -> None:
    folder = root / "mvtec_anomaly_detection"
    mvtec_class(folder, "cable")
    for name in ("bottle", "cable"):
        train, test = records(name)
        if form == "pairs":
            (root / f"{name}_train.json").write_text(lines(train))
            (root / f"{name}_test.json").write_text(lines(test))
        else:
            (root / f"{name}.json").write_text(json.dumps({"train": train, "test": test}))
    for dataset in ("mvtec", "folder"):
        assert count(get(dataset, root).samples).to_numpy().tolist() == [LISTED, LISTED]
        assert get(dataset, root).unread == ()


@pytest.mark.parametrize("place", ["old", "mvtec_anomaly_detection/bottle"])
def test_lists_in_other_folders_are_told(place: str, root: Path) -> None:
    write_lists(root / place, *map(lines, records()))
    dataset = get("mvtec", root if place == "old" else root / "mvtec_anomaly_detection")
    assert counted("mvtec", dataset.root) == ([5, 2, 3] if place != "old" else LISTED)
    if place != "old":
        assert any("list train.json and test.json" in line and "not read" in line for line in dataset.flags)


def test_a_broken_list_of_an_own_name_is_not_passed_over(root: Path) -> None:
    train, test = records()
    rows = [row | {"split": "train"} for row in train] + [row | {"split": "test"} for row in test]
    (root / "selection.jsonl").write_text(lines(rows)[:-5])
    for name in ("mvtec", "folder"):
        with pytest.raises(UserError, match=r"selection\.jsonl: line 8: broken JSON"):
            _ = get(name, root).samples
