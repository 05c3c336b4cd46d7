"""Directories in MVTec-AD's layout, and what can be wrong with them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diadbench.common.errors import UserError
from diadbench.datasets.decoding.data_module import DataModule
from diadbench.datasets.layouts.folders import MvtecLayout, mvtec_layout
from diadbench.datasets.lookup import get
from diadbench.datasets.sets.folder import Folder

MakeTree = Callable[..., Path]
Break = Callable[[Path], object]


def test_what_is_no_class_is_passed_over(make_tree: MakeTree) -> None:
    root = make_tree()
    expected = Folder(root).samples
    (root / "license.txt").write_text("licence")
    (root / "nut" / "readme.txt").write_text("read me")
    (root / "calibration").mkdir()
    (root / "calibration" / "camera.json").write_text("{}")
    (root / ".git" / "train").mkdir(parents=True)
    for folder in ("train/good", "test/crack", "ground_truth/crack"):
        for name in (".DS_Store", "Thumbs.db", "._000.png", "desktop.ini"):
            (root / "nut" / folder / name).write_bytes(b"junk")
    assert Folder(root).samples.equals(expected)


def test_masks_are_paired_by_stem_not_by_position(make_tree: MakeTree) -> None:
    root = make_tree(classes=("nut",))
    masks = root / "nut" / "ground_truth" / "crack"
    (masks / "000_a.png").write_bytes((masks / "000_mask.png").read_bytes())  # one more file shifts positions
    (masks / "001_mask.png").rename(masks / "001_mask.PNG")
    table = Folder(root).samples.query("label == 1")
    assert table["mask"].tolist() == [
        f"nut/ground_truth/crack/{n}" for n in ("000_mask.png", "001_mask.PNG", "002_mask.png")
    ]


def test_other_names_of_folders(tmp_path: Path) -> None:
    def save(name: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), 255, np.uint8)).save(path)

    for name in ("01/train/ok/a.bmp", "01/val/ok/b.png", "01/test/ok/c.JPG", "01/test/ko/d.bmp", "01/gt/ko/d.png"):
        save(name.replace(".JPG", ".jpg"))
    (tmp_path / "01/test/ok/c.jpg").rename(tmp_path / "01/test/ok/c.JPG")
    layout = MvtecLayout(normal=("ok",), train=("train", "val"), masks="gt")
    table = mvtec_layout(tmp_path, layout=layout)
    assert table["image"].tolist() == ["01/train/ok/a.bmp", "01/val/ok/b.png", "01/test/ko/d.bmp", "01/test/ok/c.JPG"]
    assert table["mask"].tolist() == ["", "", "01/gt/ko/d.png", ""]


def test_a_folder_of_masks_for_each_image(make_tree: MakeTree) -> None:
    root = make_tree(classes=("nut",), bad=1)
    masks = root / "nut" / "ground_truth" / "crack"
    (masks / "000").mkdir()
    (masks / "000_mask.png").rename(masks / "000" / "000.png")
    assert Folder(root).samples.query("label == 1")["mask"].tolist() == ["nut/ground_truth/crack/000"]
    DataModule(Folder(root), 16).prepare()


def test_odd_names(make_tree: MakeTree) -> None:
    names = ("=cmd|'/c calc'!A1".replace("/", "_"), "größe Ünï 汉字", "two words", "a&b <c> 'd'", "100%_x")
    root = make_tree(classes=names, train=1, good=1, bad=1)
    dataset = Folder(root)
    assert set(dataset.classes) == set(names)
    train, test = DataModule(dataset, 16).part(dataset.parts("multi-class")[0])
    assert (len(train), len(test)) == (5, 10)
    assert sorted(part.name for part in dataset.parts("one-per-class")) == sorted(names)


def test_without_masks(make_tree: MakeTree) -> None:
    root = make_tree()
    for path in root.rglob("*_mask.png"):
        path.unlink()
    dataset = Folder(root, masks=False)
    assert not dataset.info.has_masks
    assert Folder.info.has_masks  # the class is left as it is
    _, test = DataModule(dataset, 16).part(dataset.parts("multi-class")[0])
    assert all(batch.mask is None for batch in test.batches(4))


def test_mvtec_canonical_order_and_subset(make_tree: MakeTree) -> None:
    root = make_tree(classes=("bottle", "zipper", "carpet"))
    dataset = get("mvtec", root)
    assert dataset.classes == ("carpet", "bottle", "zipper")
    assert dataset.flags == ("3 of 15 classes",)
    assert get("mvtec", root, classes=["zipper", "carpet"]).classes == ("zipper", "carpet")


def overwrite(name: str, content: bytes) -> Break:
    return lambda root: (root / name).write_bytes(content)


def save(name: str, values: np.ndarray) -> Break:
    return lambda root: Image.fromarray(values).save(root / name)


def empty(name: str) -> Break:
    return lambda root: [path.unlink() for path in (root / name).rglob("*.png")]


def link_out(root: Path) -> None:
    outside = root.parent / "outside.png"
    Image.fromarray(np.zeros((48, 48, 3), np.uint8)).save(outside)
    (root / "nut/train/good/009.png").symlink_to(outside)


def loop(root: Path) -> None:
    os.symlink(root / "nut/train/good/b.png", root / "nut/train/good/a.png")
    os.symlink(root / "nut/train/good/a.png", root / "nut/train/good/b.png")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (overwrite("nut/train/good/notes.xyz", b"x"), r"notes\.xyz: not an image of a known format"),
        (overwrite("nut/train/good/000.png", b"not an image"), r"good/000\.png: not an image of a known format"),
        (overwrite("nut/test/crack/001.png", b""), r"crack/001\.png: the file is empty"),
        (lambda root: (root / "nut/ground_truth/crack/002_mask.png").unlink(), r"crack/002\.png: .*without a mask"),
        (save("nut/ground_truth/crack/000_mask.png", np.zeros((9, 7), np.uint8)), "mask of 7x9 for an image of 48x48"),
        (overwrite("nut/ground_truth/crack/000_mask.png", b"?"), r"000_mask\.png: not an image"),
        (save("nut/ground_truth/crack/000_mask.jpg", np.zeros((48, 48), np.uint8)), "two masks with one stem"),
        (save("nut/test/crack/000.jpg", np.zeros((48, 48), np.uint8)), "would share one mask"),
        (empty("nut/train"), "class 'nut' has no training images"),
        (empty("nut/test"), "class 'nut' has no test images"),
        (lambda root: (root / "nut/train/good").rename(root / "nut/train/crack"), "training images must be normal"),
        (link_out, r"009\.png: a symlink that leaves the data root"),
        (loop, r"(a|b)\.png"),
    ],
)
def test_damage_is_one_line_that_names_the_file(make_tree: MakeTree, damage: Break, message: str) -> None:
    root = make_tree()
    damage(root)
    with pytest.raises(UserError, match=message) as caught:
        DataModule(Folder(root), 16).prepare()
    assert "\n" not in str(caught.value)


def test_all_that_is_wrong_is_told_at_once(make_tree: MakeTree) -> None:
    root = make_tree()
    for name in ("bolt/train/good/000.png", "nut/train/good/001.png", "nut/test/good/000.png"):
        (root / name).write_bytes(b"broken " + name.encode())
    (root / "nut/test/good/001.png").write_bytes(b"")
    (root / "bolt/ground_truth/crack/000_mask.png").write_bytes(b"broken")
    with pytest.raises(UserError, match=r"5 problems: .*; and [24] more"):
        DataModule(Folder(root), 16).prepare()


@pytest.mark.parametrize("name", ["mvtec", "folder"])
def test_roots_that_are_not_there(name: str, tmp_path: Path, make_tree: MakeTree) -> None:
    with pytest.raises(UserError, match="no data root"):
        _ = get(name).samples
    with pytest.raises(UserError, match="nowhere is not a directory"):
        _ = get(name, tmp_path / "nowhere").samples
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="not a directory"):
        _ = get(name, tmp_path / "file").samples


def test_the_wrong_folder_is_told_apart(make_tree: MakeTree, tmp_path: Path) -> None:
    root = make_tree()
    assert Folder(root / "nut").classes == ("nut",)
    (root / "nut").rename(root / "bottle")
    with pytest.raises(UserError, match="folder of one class; give the folder above it"):
        _ = mvtec_layout(root / "bottle")
    (root / "bottle").rename(root / "nut")
    with pytest.raises(UserError, match="no class folder found"):
        _ = Folder(root / "nut" / "train").samples
    with pytest.raises(UserError, match="unknown class 'nutt'; did you mean nut"):
        _ = Folder(root, classes=["nutt"]).samples
    with pytest.raises(UserError, match="classes must be a list"):
        Folder(root, classes="nut")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission_to_read(make_tree: MakeTree) -> None:
    root = make_tree()
    (root / "nut/train/good/000.png").chmod(0)
    with pytest.raises(UserError, match=r"000\.png: can't be read"):
        DataModule(Folder(root), 16).prepare()
