"""A list of samples that is there decides, or is refused with its file and line; nobody passes it over."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lists_maker import Record, lines, mvtec_class, paint, paint_mask, records, write_lists
from PIL import Image

from diadbench.common.errors import UserError
from diadbench.datasets import get
from diadbench.datasets.checking.check import check
from diadbench.datasets.decoding.data_module import DataModule
from diadbench.datasets.sets.visa import shipped_split
from diadbench.datasets.table import count

LISTED = [3, 2, 3]
Write = Callable[[list[Record]], str]


def counted(name: str, root: Path, **options: Any) -> list[int]:
    return [int(n) for n in count(get(name, root, **options).samples).to_numpy()[0]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """MVTec-AD's folders with five training images; no list yet."""
    mvtec_class(tmp_path / "data/mvtec_anomaly_detection", "bottle")
    return tmp_path / "data"


def changed(change: Callable[[Record], Record]) -> Write:
    return lambda rows: lines([change(dict(row)) for row in rows])


def without(*keys: str) -> Write:
    return changed(lambda row: {key: value for key, value in row.items() if key not in keys})


def python_repr(rows: list[Record]) -> str:
    return "".join(f"{row}\n" for row in rows)


FORMS: dict[str, Write] = {
    "lines": lines,
    "CRLF": lambda rows: lines(rows).replace("\n", "\r\n"),
    "CR": lambda rows: lines(rows).replace("\n", "\r"),
    "no last line end": lambda rows: lines(rows).rstrip(),
    "a blank first line": lambda rows: "\n\n" + lines(rows),
    "blank lines between": lambda rows: lines(rows).replace("\n", "\n\n"),
    "commas at line ends": lambda rows: lines(rows).replace("}\n", "},\n"),
    "an array": json.dumps,
    "an array with line ends": lambda rows: json.dumps(rows, indent=2),
    "Python's dicts": python_repr,
    "Python's list": lambda rows: repr(rows),
    "an array below a key": lambda rows: json.dumps({"data": rows}),
    "an array for each class": lambda rows: json.dumps({"bottle": rows}),
    "backslashes": changed(lambda row: row | {"filename": row["filename"].replace("/", "\\")}),
    "labels as text": changed(lambda row: row | {"label": str(row["label"])}),
    "labels as booleans": changed(lambda row: row | {"label": bool(row["label"])}),
    "labels as words": changed(lambda row: row | {"label": "anomaly" if row["label"] else "normal"}),
    "labels by their names only": without("label"),
    "no clsname": without("clsname"),
    "null for no mask": changed(lambda row: {**row, "maskname": row.get("maskname")}),
    "other names of keys": changed(
        lambda row: {
            "image_path": row["filename"],
            "label": row["label"],
            "class": row["clsname"],
            "mask_path": row.get("maskname", ""),
        }
    ),
    "a doubled slash and a dot": changed(lambda row: row | {"filename": "./" + row["filename"].replace("/0", "//0")}),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["mvtec", "folder"])
def test_what_can_be_read_is_read(name: str, form: str, root: Path) -> None:
    train, test = records()
    (root / "train.json").write_text(FORMS[form](train), newline="")
    (root / "test.json").write_text(FORMS[form](test), newline="")
    dataset = get(name, root)
    assert count(dataset.samples).to_numpy().tolist() == [LISTED]
    assert set(dataset.samples["mask"]) - {""} == {
        f"mvtec_anomaly_detection/bottle/ground_truth/scratch/{i:03}_mask.png" for i in range(3)
    }
    assert "train.json" in dataset.source
    assert "test.json" in dataset.source


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_encodings(encoding: str, root: Path) -> None:
    train, test = records()
    image = root / "mvtec_anomaly_detection/bottle/test/good/001.png"
    image.rename(image.with_name("Fläche 瓶.png"))
    test[1]["filename"] = "bottle/test/good/Fläche 瓶.png"
    for name, rows in (("train", train), ("test", test)):
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (root / f"{name}.json").write_text(text, encoding=encoding)
    assert counted("mvtec", root) == LISTED
    DataModule(get("mvtec", root), 16).prepare()


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train.jsonl", "test.jsonl"),
        ("train.json", "test.jsonl"),
        ("my_train.jsonl", "my_test.jsonl"),
        ("mvtec-train.txt", "mvtec-test.txt"),
        ("Training.json", "Testing.json"),
        ("lists/train.json", "lists/test.json"),
        ("splits/train.ndjson", "splits/test.ndjson"),
    ],
)
def test_names_and_places(train: str, test: str, root: Path) -> None:
    for name, rows in zip((train, test), records()):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(lines(rows))
    for dataset in ("mvtec", "folder"):
        assert counted(dataset, root) == LISTED


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize(
    "header", ["path,class,split,label,mask", "object,split,label,image,mask", "Filename,ClsName,Split,Label,MaskName"]
)
def test_tables(header: str, delimiter: str, root: Path) -> None:
    cells = []
    for split, rows in zip(("train", "test"), records()):
        for row in rows:
            values = {"image": row["filename"], "class": "bottle", "split": split, "label": row["label"]}
            values["mask"] = row.get("maskname", "")
            keys = {"path": "image", "object": "class", "filename": "image", "clsname": "class", "maskname": "mask"}
            cells.append([str(values[keys.get(key, key)]) for key in header.lower().split(",")])
    text = "\r\n".join(delimiter.join(row) for row in [header.split(","), *cells])
    (root / "everything.csv").write_text(text)
    for dataset in ("mvtec", "folder"):
        assert counted(dataset, root) == LISTED
        assert "everything.csv" in get(dataset, root).source


def test_one_file_with_both_splits(root: Path) -> None:
    train, test = records()
    rows = [row | {"split": "train"} for row in train] + [row | {"split": "test"} for row in test]
    (root / "all.jsonl").write_text(lines(rows))
    assert counted("folder", root) == LISTED
    (root / "all.jsonl").rename(root / "all.json")
    (root / "all.json").write_text(json.dumps({"train": train, "test": test}))
    assert counted("folder", root) == LISTED


@pytest.mark.parametrize("name", ["mvtec", "folder"])
def test_a_list_one_level_above_the_root(name: str, root: Path) -> None:
    write_lists(root, *map(lines, records()))
    dataset = get(name, root / "mvtec_anomaly_detection")
    assert count(dataset.samples).to_numpy().tolist() == [LISTED]
    assert "one level above the root" in dataset.source
    assert dataset.samples["image"].iloc[0] == "bottle/train/good/000.png"


def test_a_list_above_that_is_of_other_data_is_not_ours(root: Path) -> None:
    rows = [[row | {"filename": "elsewhere/" + row["filename"]} for row in part] for part in records()]
    write_lists(root, *map(lines, rows))
    assert counted("mvtec", root / "mvtec_anomaly_detection") == [5, 2, 3]
    assert get("mvtec", root / "mvtec_anomaly_detection").unread == ()


def test_a_list_above_that_names_more_than_the_root_is_told(root: Path) -> None:
    mvtec_class(root / "other", "cable")
    rows = [[{**row, "filename": f"mvtec_anomaly_detection/{row['filename']}"} for row in part] for part in records()]
    more = [[{**row, "filename": f"other/{row['filename']}"} for row in part] for part in records("cable")]
    write_lists(root, *(lines(one + two) for one, two in zip(rows, more)))
    dataset = get("mvtec", root / "mvtec_anomaly_detection")
    assert [int(n) for n in count(dataset.samples).to_numpy()[0]] == [5, 2, 3]
    assert any("train.json and test.json" in line and "not read" in line for line in dataset.flags)


@pytest.mark.parametrize("real", [False, True])
def test_absolute_paths_inside_the_root(real: bool, root: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(root)
    base = (root if real else link) / "mvtec_anomaly_detection"
    rows = [
        [{key: f"{base}/{value}" if "/" in str(value) else value for key, value in row.items()} for row in part]
        for part in records()
    ]
    write_lists(root, *map(lines, rows))
    for start in (link, root) if real else (link,):
        dataset = get("mvtec", start)
        assert count(dataset.samples).to_numpy().tolist() == [LISTED]
        DataModule(dataset, 16).prepare()


def test_paths_that_climb_from_the_list_and_stay_inside(root: Path) -> None:
    rows = [
        [{k: f"../mvtec_anomaly_detection/{v}" if "/" in str(v) else v for k, v in row.items()} for row in part]
        for part in records()
    ]
    write_lists(root / "lists", *map(lines, rows))
    assert counted("mvtec", root) == LISTED
    DataModule(get("mvtec", root), 16).prepare()


@pytest.mark.parametrize("apart", [False, True])
def test_several_masks_of_an_image_are_united(apart: bool, root: Path) -> None:
    train, test = records()
    home = root / "mvtec_anomaly_detection/bottle/ground_truth"
    second = home / ("dent/000_mask.png" if apart else "scratch/000_b.png")
    values = np.zeros((24, 24), np.uint8)
    values[20:, 20:] = 255
    second.parent.mkdir(exist_ok=True)
    Image.fromarray(values).save(second)
    other = f"bottle/ground_truth/{second.parent.name}/{second.name}"
    test[2]["maskname"] = [test[2]["maskname"], other]
    write_lists(root, lines(train), lines(test))
    dataset = get("folder", root)
    _, tests = DataModule(dataset, 24).part(dataset.parts("multi-class")[0])
    masks = next(iter(tests.batches(8))).mask
    assert masks is not None
    assert sorted(int(one.sum()) for one in masks) == [0, 0, 64, 64, 64 + 16]
    assert check("folder", root, size=24).ok
    before = DataModule(dataset, 24).fingerprint
    Image.fromarray(np.roll(values, -2)).save(second)
    assert DataModule(get("folder", root), 24).fingerprint != before


def test_own_classes_and_any_folders(tmp_path: Path) -> None:
    train, test = [], []
    for k, name in enumerate(("asphalt", "concrete")):
        for i in range(6):
            paint(tmp_path / f"img/{name}_{i}.png", k * 100 + i)
            (train if i < 4 else test).append({"filename": f"img/{name}_{i}.png", "label": 0, "clsname": name})
        paint(tmp_path / f"img/{name}_ng.png", k * 100 + 50, defect=True)
        paint_mask(tmp_path / f"gt/{name}_ng_GT.png")
        bad = {"filename": f"img/{name}_ng.png", "label": 1, "clsname": name}
        test.append(bad | {"maskname": f"gt/{name}_ng_GT.png"})
    write_lists(tmp_path, lines(train), lines(test))
    dataset = get("folder", tmp_path)
    assert dataset.classes == ("asphalt", "concrete")
    assert count(dataset.samples).to_numpy().tolist() == [[4, 2, 1]] * 2
    assert check("folder", tmp_path, size=24).ok
    assert get("folder", tmp_path, classes=["concrete"]).classes == ("concrete",)


@pytest.mark.parametrize("mask", ["masks/000.png", "m/gt-000.png", "000_GT.png", "anything.png"])
def test_a_mask_may_have_any_name_that_is_no_other_images(mask: str, root: Path) -> None:
    train, test = records()
    paint_mask(root / "mvtec_anomaly_detection" / mask)
    test[2]["maskname"] = mask
    write_lists(root, lines(train), lines(test))
    assert mask in get("mvtec", root).samples["mask"].iloc[5]


def test_lists_without_masks_need_the_option(root: Path) -> None:
    train, test = records()
    write_lists(root, lines(train), without("maskname")(test))
    with pytest.raises(UserError, match=r"test\.json: line 3: .*without a mask \(3 such.*masks=false"):
        _ = get("folder", root).samples
    dataset = get("folder", root, masks=False)
    assert count(dataset.samples).to_numpy().tolist() == [LISTED]
    assert not dataset.info.has_masks


def test_lists_alone_without_masks_are_uniads_whole_images(tmp_path: Path) -> None:
    train, test = records()
    root = tmp_path / "parts"
    for i, row in enumerate([*train, *test]):
        row["filename"] = f"img/{i}.png"
        paint(root / row["filename"], i, size=20 + 4 * (i % 2))
    write_lists(root, lines(train), without("maskname")(test))
    data = DataModule(get("folder", root), 12)
    _, found = data.part(data.dataset.groups()[0])
    (batch,) = found.batches(9)
    assert batch.mask is not None
    assert batch.mask.float().mean(dim=(1, 2)).tolist() == batch.label.tolist()  # type: ignore[union-attr]
    said = "the list names no masks: the whole image counts as anomalous, as in UniAD"
    assert said in data.dataset.flags
    assert data.notes == ()
    assert check("folder", root, size=12).ok
    assert not [path for path in root.rglob("*") if path.suffix == ".png" and path.parent.name != "img"]
    del test[2]["maskname"]  # one of three: forgotten, not left out
    write_lists(root, lines(train), lines(test))
    with pytest.raises(UserError, match=r"test\.json: line 3: .*without a mask"):
        _ = get("folder", root).samples


# -- refused ------------------------------------------------------------------------------------------------------


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


# -- no lists -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("meta.json", '{"name": "my data", "version": 1}'),
        ("meta.json", '{"images": 12, "cover": "bottle/train/good/000.png"}'),
        ("package.json", '{"files": ["a.png"]}'),
        ("scores.json", '{"bottle/test/good/000.png": 0.3}'),
        ("annotations.json", '{"images": [{"file_name": "000.png", "id": 1}], "annotations": []}'),
        ("readme.txt", "Images of bottles,\nsee train/good/000.png\n"),
        ("scores.csv", "name,score\nbottle/test/good/000.png,0.3\n"),
        ("names.json", '["bottle/train/good/000.png"]'),
        ("broken.json", '{"name": "my data"'),
        ("config.json", '[{"defect_name": "scratch", "pixel_value": 255}, {"defect_name": "dent"}]'),
        ("log.jsonl", '{"epoch": 1, "loss": 0.5}\n{"epoch": 2, "loss": 0.4}\n'),
        ("train_log.txt", "epoch 1: loss 0.5\nsaved bottle/out.png\n"),
        ("train_config.json", '{"epochs": 3, "image": "a.png"}'),
    ],
)
def test_what_is_no_list_is_no_list(name: str, text: str, root: Path) -> None:
    folder = root / "mvtec_anomaly_detection"
    (folder / name).write_text(text)
    for dataset in ("mvtec", "folder"):
        assert counted(dataset, folder) == [5, 2, 3]
        assert get(dataset, folder).unread == ()


def test_hidden_copies_of_lists_are_no_lists(root: Path) -> None:
    write_lists(root, *map(lines, records()))
    (root / ".ipynb_checkpoints").mkdir()
    (root / ".ipynb_checkpoints/train-checkpoint.json").write_text(lines(records()[0][:1]))
    (root / "._train.json").write_bytes(b"\0\1")
    assert counted("mvtec", root) == LISTED


def test_of_two_lists_one_is_read_and_the_other_told(root: Path) -> None:
    train, test = records()
    write_lists(root, lines(train), lines(test))
    (root / "train_small.json").write_text(lines(train[:1]))
    (root / "test_small.json").write_text(lines(test))
    dataset = get("mvtec", root)
    assert count(dataset.samples).to_numpy().tolist() == [LISTED]
    assert any("train_small.json and test_small.json" in line for line in dataset.flags)
    report = check("mvtec", root, size=24)
    assert report.ok
    assert any(one.kind == "unread" and "train_small.json" in one.line() for one in report.of("warning"))
    assert "train.json" in report.source
    assert report.source in report.text()


def test_a_validation_list_beside_a_pair_is_no_obstacle(root: Path) -> None:
    write_lists(root, *map(lines, records()))
    (root / "val.json").write_text(lines(records()[0][:1]))
    assert counted("mvtec", root) == LISTED


def test_a_list_of_other_classes_is_another_sets(root: Path, tmp_path: Path) -> None:
    mvtec_class(root / "steel", "steel")
    write_lists(root, *map(lines, records("steel")))
    assert counted("mvtec", root) == [5, 2, 3]
    assert get("folder", root).classes == ("steel",)


def test_extra_classes_of_a_known_set(root: Path) -> None:
    folder = root / "mvtec_anomaly_detection"
    mvtec_class(folder, "my_part")
    with pytest.raises(UserError, match="unknown class folder 'my_part'"):
        _ = get("mvtec", folder).samples
    assert get("mvtec", folder, classes=["bottle"]).classes == ("bottle",)
    dataset = get("mvtec", folder, classes=["my_part", "bottle"])
    assert dataset.classes == ("my_part", "bottle")
    assert "1 class that the published set has not" in dataset.flags
    with pytest.raises(UserError, match="did you mean my_part"):
        _ = get("mvtec", folder, classes=["my_prt"]).samples
    both = [lines(one + two) for one, two in zip(records(), records("my_part"))]
    write_lists(root, *both)
    with pytest.raises(UserError, match="unknown class 'my_part'"):
        _ = get("mvtec", root).samples
    assert get("mvtec", root, classes=["my_part"]).classes == ("my_part",)
    assert get("mvtec", root, classes=["bottle"]).classes == ("bottle",)


@pytest.mark.parametrize("edited", [False, True])
@pytest.mark.parametrize("start", ["", "VisA", "VisA/visa"])
def test_a_csv_beside_visa_decides_from_any_root(start: str, edited: bool, tmp_path: Path) -> None:
    rows = ["object,split,label,image,mask"]
    for i in range(6):
        path = f"candle/Data/Images/Normal/{i:04}.JPG"
        paint(tmp_path / "VisA/visa/x.png", i)
        (tmp_path / "VisA/visa" / path).parent.mkdir(parents=True, exist_ok=True)
        Image.open(tmp_path / "VisA/visa/x.png").save(tmp_path / "VisA/visa" / path, format="JPEG")
        rows.append(f"candle,{'test' if i in (1, 5) else 'train'},normal,{path},")
    (tmp_path / "VisA/visa/x.png").unlink()
    paint(tmp_path / "VisA/visa/candle/Data/Images/Anomaly/000.png", 9, defect=True)
    paint_mask(tmp_path / "VisA/visa/candle/Data/Masks/Anomaly/000.png")
    os.rename(
        tmp_path / "VisA/visa/candle/Data/Images/Anomaly/000.png",
        tmp_path / "VisA/visa/candle/Data/Images/Anomaly/000.JPG",
    )
    bad = "candle/Data/Images/Anomaly/000.JPG,candle/Data/Masks/Anomaly/000.png"
    rows.append(f"candle,test,anomaly,{bad}")
    if edited:
        rows[1] = rows[1].replace("train", "test")
    (tmp_path / "VisA/visa.csv").write_text("\n".join(rows))
    dataset = get("visa", tmp_path / start)
    assert count(dataset.samples).to_numpy().tolist() == [[3, 3, 1] if edited else [4, 2, 1]]
    assert "visa.csv" in dataset.source


def test_visas_shipped_split_is_said_and_what_it_leaves_out(tmp_path: Path) -> None:
    listed = shipped_split()
    listed = listed[(listed["class"] == "candle") & (listed["label"] == 0)]
    some = listed.groupby("split")["image"].head(1).tolist()
    for i, path in enumerate([*some, "candle/Data/Images/Normal/my_own.JPG"]):
        paint((tmp_path / path).with_suffix(".png"), i)
        os.rename((tmp_path / path).with_suffix(".png"), tmp_path / path)
    dataset = get("visa", tmp_path)
    assert "as it ships with diadbench" in dataset.source
    assert any(re.match(r"1 images that the shipped 1cls list doesn't name", line) for line in dataset.unread)
