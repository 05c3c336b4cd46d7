"""People's folders: nested images, splits above classes, one class, named folders, several sets in a tree."""

from __future__ import annotations

import json
import os
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lists_maker import lines, mvtec_class, paint, paint_mask, records, write_lists
from PIL import Image

from diadbench.benchmark.planning.grid import load_grid
from diadbench.benchmark.planning.plan import make_plan
from diadbench.benchmark.records.store import RunDirectory
from diadbench.cli import main
from diadbench.common.errors import UserError
from diadbench.datasets import get
from diadbench.datasets.checking.check import check
from diadbench.datasets.checking.prepare import prepare
from diadbench.datasets.decoding.data_module import DataModule
from diadbench.datasets.decoding.images import read_image
from diadbench.datasets.layouts.roots import find_root
from diadbench.datasets.table import count


def counted(name: str, root: Path, **options: Any) -> dict[str, list[int]]:
    table = count(get(name, root, **options).samples)
    return {str(name): [int(n) for n in row] for name, row in zip(table.index, table.to_numpy())}


# -- nested images ------------------------------------------------------------------------------------------------


def deeper(root: Path, folder: str, place: str, names: list[str] | None = None) -> None:
    """Move images of a folder one folder deeper."""
    (root / folder / place).mkdir(parents=True)
    for path in sorted((root / folder).glob("*.png")):
        if names is None or path.name in names:
            path.rename(root / folder / place / path.name)


@pytest.mark.parametrize("some", [None, ["000.png", "000_mask.png"]])
@pytest.mark.parametrize("place", ["lot2", "2024-05-01", "cam 1/left", "050"])
@pytest.mark.parametrize("folders", [("train/good",), ("test/good",), ("test/scratch", "ground_truth/scratch")])
def test_images_in_folders_among_images_are_indexed(
    folders: tuple[str, ...], place: str, some: list[str] | None, tmp_path: Path
) -> None:
    mvtec_class(tmp_path / "data", "bottle")
    for folder in folders:
        deeper(tmp_path / "data/bottle", folder, place, some)
    for name in ("folder", "mvtec"):
        assert counted(name, tmp_path / "data") == {"bottle": [5, 2, 3]}
        table = get(name, tmp_path / "data").samples
        assert all((tmp_path / "data" / path).is_file() for path in table["image"])
        for image, mask in zip(table["image"], table["mask"]):
            assert not mask or Path(mask).name == f"{Path(image).stem}_mask.png"
    assert check("folder", tmp_path / "data", size=24).ok


def test_masks_of_nested_images_may_lie_flat(tmp_path: Path) -> None:
    mvtec_class(tmp_path, "bottle")
    deeper(tmp_path / "bottle", "test/scratch", "lot1")
    assert counted("folder", tmp_path) == {"bottle": [5, 2, 3]}
    paint(tmp_path / "bottle/test/scratch/lot2/000.png", 7, defect=True)  # whose mask is 000_mask.png now?
    with pytest.raises(UserError, match=r"lot1/000\.png: anomalous test image without a mask"):
        _ = get("folder", tmp_path).samples


@pytest.mark.parametrize("name", ["gt", "mask", "ground_truth", "xyz", "Labels", "test"])
@pytest.mark.parametrize("folder", ["train/good", "test/good", "test/scratch"])
def test_folders_of_something_else_among_images_are_refused(folder: str, name: str, tmp_path: Path) -> None:
    mvtec_class(tmp_path, "bottle")
    paint(tmp_path / "bottle" / folder / name / "000.png", 7)
    with pytest.raises(UserError, match=rf"{folder}/{name}: a folder {name} among images"):
        _ = get("folder", tmp_path).samples
    assert not check("folder", tmp_path, size=24).ok


@pytest.mark.parametrize(
    ("folder", "name"), [("test/good", "bad"), ("test/scratch", "good"), ("train/good", "defective")]
)
def test_folders_that_say_another_label_are_refused(folder: str, name: str, tmp_path: Path) -> None:
    mvtec_class(tmp_path, "bottle")
    paint(tmp_path / "bottle" / folder / name / "000.png", 7)
    with pytest.raises(UserError, match=rf"{folder}/{name}: a folder whose name says a label"):
        _ = get("folder", tmp_path).samples


@pytest.mark.parametrize("place", ["train", "test"])
def test_loose_images_beside_folders_are_refused(place: str, tmp_path: Path) -> None:
    mvtec_class(tmp_path, "bottle")
    paint(tmp_path / f"bottle/{place}/009.png", 7)
    for name in ("folder", "mvtec"):
        with pytest.raises(UserError, match=rf"{place}/009\.png: an image beside folders; expected it in .*good"):
            _ = get(name, tmp_path).samples


@pytest.mark.parametrize("place", ["extra", "bottle/test2", "bottle/val/good", "bottle/new images/day 1"])
def test_folders_that_are_not_read_are_told_in_check_and_in_tables(place: str, tmp_path: Path) -> None:
    mvtec_class(tmp_path, "bottle")
    paint(tmp_path / place / "000.png", 7)
    for name in ("folder", "mvtec"):
        assert any("1 image in" in line and "was not read" in line for line in get(name, tmp_path).flags)
        report = check(name, tmp_path, size=24)
        assert [one.kind for one in report.of("warning") if "was not read" in one.what] == ["unread"]


def test_a_link_into_itself_ends(tmp_path: Path) -> None:
    mvtec_class(tmp_path, "bottle")
    (tmp_path / "bottle/train/good/again").symlink_to(tmp_path / "bottle/train/good")
    with pytest.raises(UserError, match=r"again.*nested more than 6 deep"):
        _ = get("folder", tmp_path).samples


# -- splits above classes, one class ------------------------------------------------------------------------------


def above(root: Path, classes: list[str], form: str) -> None:
    """Write ``train/good/<class>`` (inner) or ``train/<class>/good`` (outer) out of MVTec-AD's folders."""
    for name in classes:
        mvtec_class(root / "made", name)
        for path in sorted((root / "made" / name).rglob("*.png")):
            split, kind, file = path.relative_to(root / "made" / name).parts
            target = root / split / (f"{kind}/{name}" if form == "inner" else f"{name}/{kind}") / file
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
    shutil.rmtree(root / "made")


@pytest.mark.parametrize("classes", [["bolt"], ["bolt", "nut"]])
@pytest.mark.parametrize("form", ["inner", "outer"])
def test_splits_above_classes(form: str, classes: list[str], tmp_path: Path) -> None:
    above(tmp_path, classes, form)
    dataset = get("folder", tmp_path)
    assert counted("folder", tmp_path) == {name: [5, 2, 3] for name in classes}
    assert dataset.found.layout.name == "splits"  # type: ignore[attr-defined]
    assert "splits lie above the classes" in dataset.flags
    assert set(dataset.samples["defect"]) == {"good", "scratch"}
    assert check("folder", tmp_path, size=24).ok
    assert get("folder", tmp_path, classes=classes[-1:]).classes == (classes[-1],)


@pytest.mark.parametrize("form", ["inner", "outer"])
def test_a_class_that_is_in_one_split_only_is_refused(form: str, tmp_path: Path) -> None:
    above(tmp_path, ["bolt", "nut"], form)
    for path in [*tmp_path.rglob("train/**/bolt"), *tmp_path.rglob("train/bolt")]:
        shutil.rmtree(path, ignore_errors=True)
    with pytest.raises(UserError, match="bolt"):
        _ = get("folder", tmp_path).samples


def test_the_reason_for_a_known_set_is_the_splits_not_one_class(tmp_path: Path) -> None:
    from diadbench.datasets.layouts.folders import mvtec_layout

    above(tmp_path, ["bottle", "cable"], "inner")
    with pytest.raises(UserError, match=r"train lies above the classes \(bottle, cable\)"):
        mvtec_layout(tmp_path)


def test_one_class_alone_is_called_like_its_folder(tmp_path: Path) -> None:
    mvtec_class(tmp_path, "my part")
    assert counted("folder", tmp_path / "my part") == {"my part": [5, 2, 3]}
    assert counted("folder", tmp_path / "my part", title="Part 7") == {"my part": [5, 2, 3]}
    deeper(tmp_path / "my part", "train/good", "lot1")
    assert counted("folder", tmp_path / "my part") == {"my part": [5, 2, 3]}


# -- anomalib's folders -------------------------------------------------------------------------------------------


def named(root: Path) -> None:
    for i in range(10):
        paint(root / f"ok/{i}.png", sum(map(ord, root.name)) + i)
    for kind in ("crack", "dent"):
        for i in range(2):
            paint(root / f"{kind}/{i}.png", 900 + sum(map(ord, root.name + kind)) + i, defect=True)
            paint_mask(root / f"gt/{kind}/{i}_seg.png")


ANOMALIB: dict[str, Any] = {
    "normal_dir": "ok",
    "abnormal_dir": ["crack", "dent"],
    "mask_dir": "gt",
    "mask_suffix": "_seg",
}


def test_anomalibs_folder_options(tmp_path: Path) -> None:
    named(tmp_path / "part")
    root = tmp_path / "part"
    assert counted("folder", root, **ANOMALIB) == {"part": [8, 2, 4]}
    assert counted("folder", root, **ANOMALIB, test_split_ratio=0.5) == {"part": [5, 5, 4]}
    assert any("0.2 of the normal images held out" in line for line in get("folder", root, **ANOMALIB).flags)
    drawn = {seed: tuple(get("folder", root, **ANOMALIB, seed=seed).samples["image"]) for seed in (0, 1, 2)}
    assert len(set(drawn.values())) > 1
    assert drawn[0] == tuple(get("folder", root, **ANOMALIB, seed=0).samples["image"])
    (root / "ok_test").mkdir()
    for i in (0, 1, 2):
        (root / f"ok/{i}.png").rename(root / f"ok_test/{i}.png")
    assert counted("folder", root, **ANOMALIB, normal_test_dir="ok_test") == {"part": [7, 3, 4]}
    assert counted("folder", root, normal_dir="ok", abnormal_dir=["crack"], masks=False) == {"part": [6, 1, 2]}
    assert check("folder", root, size=24, **ANOMALIB).ok


def test_anomalibs_folders_below_each_class(tmp_path: Path) -> None:
    for name in ("bolt", "nut"):
        named(tmp_path / name)
    assert counted("folder", tmp_path, **ANOMALIB) == {"bolt": [8, 2, 4], "nut": [8, 2, 4]}
    assert get("folder", tmp_path, classes=["nut"], **ANOMALIB).classes == ("nut",)
    table = get("folder", tmp_path, **ANOMALIB).samples
    assert set(table["defect"]) == {"good", "crack", "dent"}
    assert all((tmp_path / path).is_file() for path in table["mask"] if path)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"normal_dir": "fine"}, r"no folder 'fine' \(normal_dir\)|expected a folder fine"),
        ({"abnormal_dir": "cracks"}, r"cracks: no images; abnormal_dir names this folder"),
        ({"mask_dir": None}, r"no mask_dir for abnormal_dir; name it, or set masks=false"),
        ({"mask_suffix": None}, r"crack/0\.png: .*without a mask"),
        ({"mask_dir": ["a", "b", "c"]}, r"3 mask_dir for 2 abnormal_dir"),
        ({"normal_dir": None}, r"need normal_dir"),
        ({"normal_dir": ""}, r"normal_dir ''; expected the name of a folder"),
        ({"test_split_ratio": 0.01}, r"holds 0 of 10 normal images out"),
        ({"test_split_ratio": 1.0}, r"test_split_ratio 1.0; expected more than 0"),
        ({"seed": -1}, r"seed is -1"),
    ],
)
def test_anomalibs_options_that_are_wrong(options: dict[str, Any], says: str, tmp_path: Path) -> None:
    named(tmp_path)
    with pytest.raises(UserError, match=says):
        _ = get("folder", tmp_path, **(ANOMALIB | options)).samples


@pytest.mark.parametrize(("old", "new"), [("ground_truth", "groundtruth"), ("ground_truth", "masks")])
def test_another_name_of_the_mask_folder_is_told_and_taken(old: str, new: str, tmp_path: Path) -> None:
    mvtec_class(tmp_path, "bottle")
    (tmp_path / "bottle" / old).rename(tmp_path / "bottle" / new)
    with pytest.raises(
        UserError, match=rf"found {new} \(rename it; dataset folder takes mask_dir={new} too\).*masks=false"
    ):
        _ = get("folder", tmp_path).samples
    assert counted("folder", tmp_path, mask_dir=new) == {"bottle": [5, 2, 3]}
    assert not get("folder", tmp_path, masks=False).info.has_masks


def test_another_suffix_of_masks_is_told_and_taken(tmp_path: Path) -> None:
    mvtec_class(tmp_path, "bottle")
    for path in (tmp_path / "bottle/ground_truth/scratch").iterdir():
        path.rename(path.with_name(path.name.replace("_mask", "_GT")))
    with pytest.raises(UserError, match=r"found 000_GT \(.*mask_suffix=_GT too\).*masks=false"):
        _ = get("folder", tmp_path).samples
    assert counted("folder", tmp_path, mask_suffix="_GT") == {"bottle": [5, 2, 3]}


# -- several sets in a tree ---------------------------------------------------------------------------------------


def test_each_set_of_a_tree_is_found_by_its_content(tmp_path: Path) -> None:
    mvtec_class(tmp_path / "MVTec-AD/mvtec_anomaly_detection", "bottle")
    write_lists(tmp_path / "MVTec-AD", *map(lines, records()))
    mvtec_class(tmp_path / "btad", "01")
    for split in ("train", "test"):
        (tmp_path / f"btad/01/{split}/good").rename(tmp_path / f"btad/01/{split}/ok")
    for name, cls in (("visa", "candle"), ("mpdd", "tubes")):
        mvtec_class(tmp_path / name, cls)
        train, test = ({cls: [_ader(row) for row in rows]} for rows in records(cls))
        (tmp_path / name / "meta.json").write_text(json.dumps({"train": train, "test": test}))
    assert counted("mvtec", tmp_path) == {"bottle": [3, 2, 3]}
    assert counted("visa", tmp_path) == {"candle": [3, 2, 3]}
    assert counted("mpdd", tmp_path) == {"tubes": [3, 2, 3]}
    assert counted("btad", tmp_path) == {"01": [5, 2, 3]}


@pytest.mark.parametrize("names", [("MVTec-AD", "VisA"), ("first", "second")])
def test_one_data_root_for_several_sets_under_any_names(names: tuple[str, str], tmp_path: Path) -> None:
    mvtec_class(tmp_path / names[0] / "mvtec_anomaly_detection", "bottle")
    write_lists(tmp_path / names[0], *map(lines, records()))
    mvtec_class(tmp_path / names[1] / "visa", "candle")
    write_lists(tmp_path / names[1], *map(lines, records("candle", train=2)))
    found = {name: get(name, find_root(name, data_root=tmp_path)) for name in ("mvtec", "visa")}
    assert [len(one.samples.query("split == 'train'")) for one in found.values()] == [3, 2]
    with pytest.raises(UserError, match="not found in"):
        find_root("mpdd", data_root=tmp_path)


def _ader(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "img_path": row["filename"],
        "mask_path": row.get("maskname", ""),
        "cls_name": row["clsname"],
        "specie_name": "scratch" if row["label"] else "good",
        "anomaly": row["label"],
    }


# -- true reasons -------------------------------------------------------------------------------------------------


def test_what_differs_in_a_name_is_told(tmp_path: Path) -> None:
    mvtec_class(tmp_path, "bottle")
    home = tmp_path / "bottle/test/good"
    for there, listed, says in (
        (unicodedata.normalize("NFD", "prüf.png"), "prüf.png", r"composed \(NFC\) where it is listed"),
        ("Image.PNG", "image.png", "upper and lower case"),
        ("image .png", "image.png", "a space"),
    ):
        (home / "001.png").rename(home / there)
        train, test = records()
        test[1]["filename"] = f"bottle/test/good/{listed}"
        write_lists(tmp_path, lines(train), lines(test))
        with pytest.raises(UserError, match=rf"file not found; there is .*differs in .*{says}"):
            DataModule(get("mvtec", tmp_path), 16).prepare()
        (home / there).rename(home / "001.png")


def test_letters_of_an_image_and_its_mask_may_be_composed_or_not(tmp_path: Path) -> None:
    mvtec_class(tmp_path, "bottle", bad=0)
    paint(tmp_path / "bottle/test/scratch" / unicodedata.normalize("NFD", "käfer.png"), 1, defect=True)
    paint_mask(tmp_path / "bottle/ground_truth/scratch" / unicodedata.normalize("NFC", "käfer_mask.png"))
    assert counted("folder", tmp_path) == {"bottle": [5, 2, 1]}
    assert check("folder", tmp_path, size=24).ok


@pytest.mark.parametrize("place", ["bottle/test/good/{}.png", "bottle/test/{}/000.png", "{}/train/good/000.png"])
def test_names_that_are_no_utf8_are_one_line(place: str, tmp_path: Path) -> None:
    mvtec_class(tmp_path, "bottle")
    path = os.path.join(os.fsencode(tmp_path), *(os.fsencode(place).replace(b"{}", "正常".encode("gbk")).split(b"/")))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    shutil.copy(tmp_path / "bottle/test/good/000.png", path)
    with pytest.raises(UserError, match=r"\\xd5\\xfd\\xb3\\xa3.* is not UTF-8 \(gbk reads it as 正常") as caught:
        _ = get("folder", tmp_path).samples
    str(caught.value).encode("utf-8")
    report = check("folder", tmp_path, size=24)
    assert not report.ok
    report.text().encode("utf-8")


def test_a_huge_image_is_called_huge(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    Image.fromarray(np.zeros((14_200, 14_200), np.uint8)).save(path, compress_level=1)
    with pytest.raises(UserError, match=r"huge\.png: too large \(.*pixels") as caught:
        read_image(path)
    assert "damaged" not in str(caught.value)


# -- one verdict --------------------------------------------------------------------------------------------------


def _empty(root: Path) -> None:
    paint_mask(root / "bottle/ground_truth/scratch/001_mask.png", empty=True)


def _mask_of_normal(root: Path) -> None:
    paint_mask(root / "bottle/ground_truth/good/000_mask.png")


def _zero_mask_of_normal(root: Path) -> None:
    paint_mask(root / "bottle/ground_truth/good/000_mask.png", empty=True)


def _leak(root: Path) -> None:
    shutil.copy(root / "bottle/train/good/000.png", root / "bottle/test/good/000.png")


def _broken_list(root: Path) -> None:
    write_lists(root, *map(lines, records()))
    (root / "test.json").write_text("{")


def _listed_missing(root: Path) -> None:
    write_lists(root, *map(lines, records()))
    (root / "bottle/test/good/001.png").unlink()


def _stray_link(root: Path) -> None:
    (root / "bottle/elsewhere.txt").symlink_to(root / "nowhere")


def _resave(root: Path, name: str, **options: Any) -> None:
    path = root / name
    Image.open(path).save(path, **options)


def _pages(root: Path) -> None:
    first = Image.open(root / "bottle/test/good/000.png")
    first.save(root / "bottle/test/good/000.tif", save_all=True, append_images=[first])
    (root / "bottle/test/good/000.png").unlink()


def _deep(root: Path) -> None:
    for path in root.rglob("*/good/*.png"):
        Image.fromarray(np.asarray(Image.open(path).convert("L")).astype(np.uint16) * 4).save(path)


def _inverted(root: Path) -> None:
    for path in root.rglob("*_mask.png"):
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)


VERDICTS: dict[str, tuple[Callable[[Path], object], bool]] = {
    "whole": (lambda root: None, True),
    "an empty mask": (_empty, True),
    "a mask with defects for a normal image": (_mask_of_normal, False),
    "a zero mask for a normal image": (_zero_mask_of_normal, True),
    "no ground truth": (lambda root: shutil.rmtree(root / "bottle/ground_truth"), False),
    "no anomalies": (lambda root: shutil.rmtree(root / "bottle/test/scratch"), True),
    "a test image in training": (_leak, True),
    "a broken list": (_broken_list, False),
    "a listed image is missing": (_listed_missing, False),
    "a folder of something else": (lambda root: paint(root / "bottle/test/good/gt/0.png", 1), False),
    "a stray link": (_stray_link, True),
    "JPEG masks": (lambda root: _resave(root, "bottle/ground_truth/scratch/000_mask.png", format="JPEG"), True),
    "inverted masks": (_inverted, True),
    "10 bits in 16-bit files": (_deep, True),
    "pages": (_pages, False),
    "a mask of another size": (lambda root: paint_mask(root / "bottle/ground_truth/scratch/000_mask.png", 40), False),
    "a second mask of another name": (lambda root: paint_mask(root / "bottle/ground_truth/scratch/000.png"), True),
    "a nested zip": (lambda root: (root / "bottle/data.zip").write_bytes(b"PK"), True),
    "a folder of macOS": (lambda root: paint(root / "__MACOSX/bottle/train/good/000.png", 1), True),
    "a broken image": (lambda root: (root / "bottle/test/good/000.png").write_bytes(b"x"), False),
}


@pytest.mark.parametrize("kind", VERDICTS)
def test_check_prepare_and_run_give_one_verdict(kind: str, tmp_path: Path) -> None:
    root = tmp_path / "data"
    mvtec_class(root, "bottle")
    damage, well = VERDICTS[kind]
    damage(root)
    assert check("folder", root, size=24).ok == well
    assert _passes(lambda: prepare("folder", root, size=24)) == well
    assert _passes(lambda: _as_a_run_does(root, tmp_path)) == well


def _passes(call: Callable[[], object]) -> bool:
    try:
        call()
    except UserError as error:
        return "\n" in str(error)
    return True


def write_grid(tmp_path: Path, root: Path) -> Path:
    grid = tmp_path / "grid.yaml"
    mine = f"  mine: {{dataset: folder, root: '{root}'}}"
    grid.write_text(f"methods: {{mean-image: }}\ndatasets:\n{mine}\nimage_size: 24\ndevice: cpu\n")
    return grid


def _as_a_run_does(root: Path, tmp_path: Path) -> None:
    """Plan the run, then open the data as its cells do."""
    grid = write_grid(tmp_path, root)
    make_plan(load_grid(str(grid), {}), RunDirectory(tmp_path / "run", must_exist=False))
    DataModule(get("folder", root), 24).prepare()


@pytest.mark.usefixtures("cells_in_this_process")
def test_a_run_says_what_it_read_and_which_masks_are_empty(tmp_path: Path) -> None:
    root = tmp_path / "data"
    mvtec_class(root, "bottle")
    _empty(root)
    write_lists(root, *map(lines, records()))
    paint(root / "bottle/train/good/lot9/000.png", 5)  # not listed: the list decides
    grid = write_grid(tmp_path, root)
    assert main(["run", str(grid), "--out", str(tmp_path / "run"), "--quiet", "--no-report"]) == 0
    (status,) = (tmp_path / "run/cells").rglob("status.json")
    found = json.loads(status.read_text())
    assert found["n_train"] == 3
    assert "train.json" in found["dataset_info"]["source"]
    assert "1 mask of an anomalous image is empty" in found["notes"]
    logs = [path.read_text() for path in status.parent.glob("log.txt")]
    assert any("8 samples, list " in text and "train.json" in text for text in logs), list(status.parent.iterdir())
