"""People's folders: splits above classes, one class, named folders, several sets in a tree."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from lists_maker import by_class, deeper, lines, mvtec_class, paint, paint_mask, records, write_lists

from diadbench.common.errors import UserError
from diadbench.datasets import get
from diadbench.datasets.checking.check import check
from diadbench.datasets.layouts.roots import find_root

# -- splits above classes, one class -----------------------------------------------------------------------------------


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
    assert by_class("folder", tmp_path) == {name: [5, 2, 3] for name in classes}
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
    assert by_class("folder", tmp_path / "my part") == {"my part": [5, 2, 3]}
    assert by_class("folder", tmp_path / "my part", title="Part 7") == {"my part": [5, 2, 3]}
    deeper(tmp_path / "my part", "train/good", "lot1")
    assert by_class("folder", tmp_path / "my part") == {"my part": [5, 2, 3]}


# -- anomalib's folders ------------------------------------------------------------------------------------------------


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
    assert by_class("folder", root, **ANOMALIB) == {"part": [8, 2, 4]}
    assert by_class("folder", root, **ANOMALIB, test_split_ratio=0.5) == {"part": [5, 5, 4]}
    assert any("0.2 of the normal images held out" in line for line in get("folder", root, **ANOMALIB).flags)
    drawn = {seed: tuple(get("folder", root, **ANOMALIB, seed=seed).samples["image"]) for seed in (0, 1, 2)}
    assert len(set(drawn.values())) > 1
    assert drawn[0] == tuple(get("folder", root, **ANOMALIB, seed=0).samples["image"])
    (root / "ok_test").mkdir()
    for i in (0, 1, 2):
        (root / f"ok/{i}.png").rename(root / f"ok_test/{i}.png")
    assert by_class("folder", root, **ANOMALIB, normal_test_dir="ok_test") == {"part": [7, 3, 4]}
    assert by_class("folder", root, normal_dir="ok", abnormal_dir=["crack"], masks=False) == {"part": [6, 1, 2]}
    assert check("folder", root, size=24, **ANOMALIB).ok


def test_anomalibs_folders_below_each_class(tmp_path: Path) -> None:
    for name in ("bolt", "nut"):
        named(tmp_path / name)
    assert by_class("folder", tmp_path, **ANOMALIB) == {"bolt": [8, 2, 4], "nut": [8, 2, 4]}
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
    assert by_class("folder", tmp_path, mask_dir=new) == {"bottle": [5, 2, 3]}
    assert not get("folder", tmp_path, masks=False).info.has_masks


def test_another_suffix_of_masks_is_told_and_taken(tmp_path: Path) -> None:
    mvtec_class(tmp_path, "bottle")
    for path in (tmp_path / "bottle/ground_truth/scratch").iterdir():
        path.rename(path.with_name(path.name.replace("_mask", "_GT")))
    with pytest.raises(UserError, match=r"found 000_GT \(.*mask_suffix=_GT too\).*masks=false"):
        _ = get("folder", tmp_path).samples
    assert by_class("folder", tmp_path, mask_suffix="_GT") == {"bottle": [5, 2, 3]}


# -- several sets in a tree --------------------------------------------------------------------------------------------


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
    assert by_class("mvtec", tmp_path) == {"bottle": [3, 2, 3]}
    assert by_class("visa", tmp_path) == {"candle": [3, 2, 3]}
    assert by_class("mpdd", tmp_path) == {"tubes": [3, 2, 3]}
    assert by_class("btad", tmp_path) == {"01": [5, 2, 3]}


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
