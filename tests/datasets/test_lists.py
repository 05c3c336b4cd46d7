"""A list of samples that is there decides, in each form that can be read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from lists_maker import LISTED, Record, Write, counted, lines, mvtec_class, paint, paint_mask, records, write_lists
from PIL import Image

from diadbench.common.errors import UserError
from diadbench.datasets import get
from diadbench.datasets.checking.check import check
from diadbench.datasets.decoding.data_module import DataModule
from diadbench.datasets.table import count


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
