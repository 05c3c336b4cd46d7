"""Kinds of damage, one a test: each gives one clear line that names the file, or is handled and counted."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from diadbench.common.errors import UserError
from diadbench.datasets import get
from diadbench.datasets.checking.check import check
from diadbench.datasets.samples import make_sample

MVTEC = ["bottle", "cable"]


class Case(NamedTuple):
    """``where``: ``index`` (no table is made), ``files`` (found when files are opened), ``handled`` (no error)."""

    about: str
    name: str
    layout: str
    where: str
    says: str
    damage: Callable[[Path], Any]


def edit_json(path: Path, change: Callable[[Any], Any]) -> None:
    content = json.loads(path.read_text())
    content = change(content) or content
    path.write_text(json.dumps(content))


def edit_text(path: Path, old: str, new: str) -> None:
    text = path.read_bytes().decode()
    assert old in text
    path.write_bytes(text.replace(old, new, 1).encode())


def first_test(change: dict[str, Any]) -> Callable[[Path], None]:
    """Change the first anomalous record of Real-IAD's audiojack."""

    def edit(content: Any) -> None:
        next(one for one in content["test"] if one["mask_path"]).update(change)

    return lambda root: edit_json(root / "realiad_jsons/audiojack.json", edit)


def first_meta(change: dict[str, Any]) -> Callable[[Path], None]:
    def edit(content: Any) -> None:
        content["train"]["bottle"][0].update(change)

    return lambda root: edit_json(root / "meta.json", edit)


def mask(root: Path) -> Path:
    return root / "bottle/ground_truth/broken/000_mask.png"


def resave(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    Image.fromarray(change(np.array(Image.open(path)))).save(path)


def link_out(root: Path) -> None:
    outside = root.parent / "outside.png"
    shutil.move(root / "bottle/test/good/000.png", outside)
    (root / "bottle/test/good/000.png").symlink_to(outside)


def copy_train_to_test(root: Path) -> None:
    shutil.copy(root / "bottle/train/good/000.png", root / "bottle/test/good/000.png")


def rename(old: str, new: str) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        for folder, suffix in (("test", ".png"), ("ground_truth", "_mask.png")):
            home = root / "bottle" / folder / "broken"
            (home / f"{old}{suffix}").rename(home / f"{new}{suffix}")

    return damage


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


def unlink_all(pattern: str) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        found = list(root.glob(pattern))
        assert found
        for path in found:
            path.unlink()

    return damage


def remove_line(path: str, word: str) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        lines = (root / path).read_text().splitlines(keepends=True)
        assert any(word in line for line in lines)
        (root / path).write_text("".join(line for line in lines if word not in line))

    return damage


def coco(change: Callable[[Any], Any]) -> Callable[[Path], None]:
    return lambda root: edit_json(root / "annotations/instances_val2017.json", change)


def set_first(key: str, value: Any) -> Callable[[Any], None]:
    return lambda content: content["annotations"][0].update({key: value})


OUT = "../../etc/x_C1_1.jpg"
CSV = "split_csv/1cls.csv"
CASES = [
    Case(
        "zero-byte image",
        "mvtec",
        "owner",
        "files",
        r"bottle/test/good/000.png.*0 bytes",
        lambda root: (root / "bottle/test/good/000.png").write_bytes(b""),
    ),
    Case(
        "truncated image",
        "mvtec",
        "owner",
        "files",
        r"bottle/train/good/001.png.*damaged",
        lambda root: os.truncate(root / "bottle/train/good/001.png", 400),
    ),
    Case(
        "a text called png",
        "mvtec",
        "owner",
        "files",
        r"good/000.png.*not an image",
        lambda root: (root / "bottle/test/good/000.png").write_text("hello"),
    ),
    Case(
        "mask missing",
        "mvtec",
        "owner",
        "index",
        r"broken/000.png.*no? mask|mask.*000",
        lambda root: mask(root).unlink(),
    ),
    Case(
        "mask of another size",
        "mvtec",
        "owner",
        "files",
        r"000_mask.png.*mask of \d+x\d+ for an image of",
        lambda root: resave(mask(root), lambda values: values[:-4]),
    ),
    Case(
        "empty mask",
        "mvtec",
        "owner",
        "handled",
        r"000_mask.png.*no positive pixel",
        lambda root: resave(mask(root), lambda values: values * 0),
    ),
    Case(
        "truncated mask", "mvtec", "owner", "files", r"000_mask.png.*damaged", lambda root: os.truncate(mask(root), 60)
    ),
    Case(
        "class without anomalies",
        "mvtec",
        "owner",
        "handled",
        r"bottle has no anomalous test images",
        lambda root: [shutil.rmtree(path) for path in (root / "bottle/test").iterdir() if path.name != "good"],
    ),
    Case(
        "class without normals",
        "mvtec",
        "owner",
        "handled",
        r"bottle has no normal test images",
        lambda root: shutil.rmtree(root / "bottle/test/good"),
    ),
    Case(
        "class without training images",
        "mvtec",
        "owner",
        "index",
        r"bottle.*no training images",
        unlink_all("bottle/train/good/*.png"),
    ),
    Case(
        "class without test images",
        "mvtec",
        "owner",
        "index",
        r"bottle.*no test images",
        lambda root: shutil.rmtree(root / "bottle/test"),
    ),
    Case("name with spaces", "mvtec", "owner", "handled", "", rename("000", "no 1 (copy)")),
    Case("unicode name", "mvtec", "owner", "handled", "", rename("000", "Prüfling-試料")),
    Case("leading =", "mvtec", "owner", "handled", "", rename("000", "=1+1")),
    Case(
        "stray files of the system",
        "mvtec",
        "owner",
        "handled",
        "",
        lambda root: [
            (mask(root).parent / name).write_bytes(b"x") for name in (".DS_Store", "Thumbs.db", "._000_mask.png")
        ],
    ),
    Case(
        "mask of no image",
        "mvtec",
        "owner",
        "handled",
        r"ground_truth/broken.*belongs to no sample: 099_mask.png",
        lambda root: shutil.copy(mask(root), mask(root).with_name("099_mask.png")),
    ),
    Case(
        "symlink loop",
        "mvtec",
        "owner",
        "index",
        r"train/loop|good/loop",
        lambda root: (root / "bottle/train/loop").symlink_to(root / "bottle/train"),
    ),
    Case(
        "symlink to itself",
        "mvtec",
        "owner",
        "index",
        r"good/self.png",
        lambda root: (root / "bottle/test/good/self.png").symlink_to(root / "bottle/test/good/self.png"),
    ),
    Case("symlink out of the root", "mvtec", "owner", "files", r"good/000.png.*leaves the data root", link_out),
    Case(
        "test image in training",
        "mvtec",
        "owner",
        "handled",
        r"test/good/000.png.*same image as the training image",
        copy_train_to_test,
    ),
    Case(
        "unknown class",
        "mvtec",
        "owner",
        "index",
        r"botle.*did you mean bottle",
        lambda root: shutil.copytree(root / "bottle", root / "botle"),
    ),
    Case(
        "anomalies in training",
        "mvtec",
        "owner",
        "index",
        r"train/broken.*must be normal",
        lambda root: shutil.copytree(root / "bottle/test/broken", root / "bottle/train/broken"),
    ),
    Case(
        "grey mask",
        "mvtec",
        "owner",
        "handled",
        r"masks with grey values",
        lambda root: resave(
            mask(root), lambda values: np.where(values > 0, np.linspace(9, 255, values.shape[1]), 0).astype(np.uint8)
        ),
    ),
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
    Case(
        "traversal in Real-IAD's JSON",
        "realiad",
        "owner",
        "index",
        r"leaves the data root",
        first_test({"image_path": OUT}),
    ),
    Case(
        "traversal in Real-IAD's prefix",
        "realiad",
        "owner",
        "index",
        r"leaves the data root",
        lambda root: edit_json(
            root / "realiad_jsons/audiojack.json", lambda content: content["meta"].update(prefix="../../audiojack/")
        ),
    ),
    Case(
        "broken Real-IAD JSON",
        "realiad",
        "owner",
        "index",
        r"audiojack.json: broken JSON",
        lambda root: os.truncate(root / "realiad_jsons/audiojack.json", 700),
    ),
    Case(
        "anomalous view without a mask",
        "realiad",
        "owner",
        "index",
        r"audiojack.json.*has no mask_path",
        first_test({"mask_path": None}),
    ),
    Case(
        "normal view with a mask",
        "realiad",
        "owner",
        "index",
        r"audiojack.json.*is normal and has a mask_path",
        first_test({"anomaly_class": "OK"}),
    ),
    Case(
        "another category",
        "realiad",
        "owner",
        "index",
        r"category 'toy'; expected 'audiojack'",
        first_test({"category": "toy"}),
    ),
    Case("no view in the name", "realiad", "owner", "index", r"no view C1..C5", first_test({"image_path": "NG/x.jpg"})),
    Case(
        "a view is missing from the list",
        "realiad",
        "owner",
        "handled",
        r"4 of 5 views",
        lambda root: edit_json(root / "realiad_jsons/audiojack.json", lambda content: content["test"].pop() and None),
    ),
    Case(
        "one class's JSON is missing",
        "realiad",
        "owner",
        "handled",
        "",
        lambda root: (root / "realiad_jsons/audiojack.json").unlink(),
    ),
    Case(
        "no folder of masks in BMAD",
        "unimedical",
        "bmad",
        "index",
        r"Ungood: no folder of masks",
        lambda root: shutil.rmtree(root / "Brain/test/Ungood/anomaly_mask"),
    ),
    Case(
        "a BMAD mask is missing",
        "unimedical",
        "bmad",
        "index",
        r"00400.png: no mask",
        lambda root: (root / "Brain/test/Ungood/anomaly_mask/00400.png").unlink(),
    ),
    Case(
        "a gt of MVTec-3D is missing",
        "mvtec3d",
        "owner",
        "index",
        r"hole/rgb/000.png: no mask",
        lambda root: (root / "bagel/test/hole/gt/000.png").unlink(),
    ),
    Case(
        "a damaged scan",
        "mvtec3d",
        "owner",
        "files",
        r"xyz/000.tiff: damaged TIFF",
        lambda root: os.truncate(root / "bagel/train/good/xyz/000.tiff", 30),
    ),
    Case(
        "a scan is missing",
        "mvtec3d",
        "owner",
        "handled",
        "",
        lambda root: (root / "bagel/train/good/xyz/000.tiff").unlink(),
    ),
    Case(
        "a category that COCO hasn't",
        "coco_ad",
        "owner",
        "index",
        r"no category 12 in categories",
        coco(set_first("category_id", 12)),
    ),
    Case(
        "an annotation of no image",
        "coco_ad",
        "owner",
        "index",
        r"annotation 1: no image 5",
        coco(set_first("image_id", 5)),
    ),
    Case(
        "half a polygon",
        "coco_ad",
        "owner",
        "index",
        r"broken segmentation",
        coco(set_first("segmentation", [[1, 2, 3]])),
    ),
    Case(
        "an RLE of another size",
        "coco_ad",
        "owner",
        "index",
        r"RLE of size",
        coco(set_first("segmentation", {"size": [3, 3], "counts": [9]})),
    ),
    Case(
        "traversal in COCO's file names",
        "coco_ad",
        "owner",
        "index",
        r"leaves the data root",
        coco(lambda content: content["images"][0].update(file_name="../x.jpg")),
    ),
    Case(
        "broken annotations",
        "coco_ad",
        "owner",
        "index",
        r"instances_val2017.json: broken JSON",
        lambda root: os.truncate(root / "annotations/instances_val2017.json", 500),
    ),
    Case(
        "no annotations of train2017",
        "coco_ad",
        "owner",
        "index",
        r"instances_train2017.json: file not found",
        lambda root: (root / "annotations/instances_train2017.json").unlink(),
    ),
    Case(
        "a COCO image is missing",
        "coco_ad",
        "owner",
        "files",
        r"train2017/000000000139.jpg.*not found",
        lambda root: (root / "train2017/000000000139.jpg").unlink(),
    ),
]
CLASSES = {"mvtec": MVTEC, "visa": ["pcb1", "candle"], "realiad": ["audiojack", "vcpill"], "unimedical": ["brain"]}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Samples before they are damaged, each made and checked once."""

    @functools.cache
    def make(name: str, layout: str) -> Path:
        root = tmp_path_factory.mktemp("whole") / "data"
        classes = CLASSES.get(name, ["bagel"] if name == "mvtec3d" else None)
        make_sample(name, root, layout=layout, classes=classes, train=2, good=2, bad=3, size=24)
        assert check(name, root, size=24).ok
        return root

    return make


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}: {case.about}")
def test_damage(case: Case, whole: Callable[[str, str], Path], tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(whole(case.name, case.layout), root)
    case.damage(root)
    if case.where == "index":
        with pytest.raises(UserError) as caught:
            _ = get(case.name, root).samples
        assert "\n" not in str(caught.value)
    else:
        _ = get(case.name, root).samples
    report = check(case.name, root, size=24)
    assert report.ok == (case.where == "handled")
    assert report.exit_code() == int(not report.ok)
    if case.says:
        told = [one for one in report.findings if one.severity != "note"]
        lines = [one.line() for one in told]
        assert any(re.search(case.says, line) for line in lines), lines
        assert not any("\n" in line for line in lines)
    json.dumps(report.to_json())
    assert report.text()
