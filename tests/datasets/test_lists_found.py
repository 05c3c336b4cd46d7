"""Which files are lists of samples, and which of several lists decides."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from lists_maker import LISTED, counted, lines, mvtec_class, paint, paint_mask, records, write_lists
from PIL import Image

from diadbench.common.errors import UserError
from diadbench.datasets import get
from diadbench.datasets.checking.check import check
from diadbench.datasets.sets.visa import shipped_split
from diadbench.datasets.table import count


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
