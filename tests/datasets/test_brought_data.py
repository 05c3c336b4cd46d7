"""Data as people bring it: what can be read is read, the rest is told with file and line, by check, prepare and run."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image, ImageCms

from diadbench.common.errors import UserError
from diadbench.datasets import get
from diadbench.datasets.checking.check import check, refuse
from diadbench.datasets.decoding.data_module import DataModule
from diadbench.datasets.samples import make_sample
from diadbench.datasets.samples.paint import Record

ALL = (8, 4, 6)
#: Without one training image of each class, which shows whether the list or the folders decided.
LISTED = (6, 4, 6)


class Read(NamedTuple):
    """What check and a run made of data: the numbers of images, the error, and all that was said."""

    numbers: tuple[int, int, int] | None
    error: str
    checked: str
    flags: str


def read(name: str, root: Path, cache: Path, **options: Any) -> Read:
    """Check and prepare data, which must agree, and count training, normal and anomalous test images."""
    report = check(name, root, size=16, workers=1, **options)
    checked = "\n".join(finding.line() for finding in report.findings)
    try:
        dataset = get(name, root, **options)
        refuse(dataset)
        data = DataModule(dataset, 16, cache_dir=cache, workers=1)
        data.prepare()
        flags = "\n".join([*dataset.flags, *data.notes])
    except UserError as caught:
        error = str(caught)
    else:
        error = ""
    assert report.ok == (not error), f"check: {checked}; run: {error}"
    assert "\n" not in error
    if error:
        return Read(None, error, checked, "")
    train, test = (dataset.samples[dataset.samples["split"] == split]["label"] for split in ("train", "test"))
    return Read((len(train), int((test == 0).sum()), int(test.sum())), "", checked, flags)


@pytest.fixture
def brought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[Record]]:
    monkeypatch.setenv("DIADBENCH_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "data"
    return root, make_sample("mvtec", root, classes=["bottle", "cable"], size=24)


def first_train(root: Path) -> Path:
    return root / "bottle/train/good/000.png"


def some_mask(root: Path) -> Path:
    return root / "bottle/ground_truth/broken/000_mask.png"


# -- lists ----------------------------------------------------------------------------------------------------------


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


def json_lines(records: Sequence[Record], split: str) -> str:
    rows = []
    for one in records:
        if one.split == split:
            row = {"filename": one.image, "label": one.label, "clsname": one.cls}
            rows.append(json.dumps({**row, **({"maskname": one.mask} if one.label else {})}))
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


def _lists(root: Path, records: Sequence[Record]) -> None:
    for split in ("train", "test"):
        (root / f"{split}.json").write_text(json_lines(records, split))


@pytest.mark.parametrize("kind", ["gone", "a folder", "a pipe", "a mask"])
def test_a_missing_file_is_told_with_the_line_that_names_it(
    kind: str, brought: tuple[Path, list[Record]], tmp_path: Path
) -> None:
    root, records = brought
    _lists(root, records)
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
    _lists(root, listed(records))
    (root / "val.json").write_text(json_lines([one for one in records if one.image.endswith("003.png")], "train"))
    (root / "split.xlsx").write_bytes(b"PK")
    found = read("folder", root, tmp_path / "cache")
    assert found.numbers == LISTED
    for text in (found.checked, found.flags):
        assert "val.json" in text
        assert "split.xlsx" in text


# -- folders --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Good", "OK", "normal"])
@pytest.mark.parametrize("dataset", ["mvtec", "folder"])
@pytest.mark.parametrize("splits", [("train", "test"), ("test",)])
def test_normal_images_under_another_name_are_not_anomalous(
    name: str, dataset: str, splits: Sequence[str], brought: tuple[Path, list[Record]], tmp_path: Path
) -> None:
    root, _ = brought
    for split in splits:
        for cls in ("bottle", "cable"):
            (root / cls / split / "good").rename(root / cls / split / name)
    options: dict[str, Any] = {"masks": False} if dataset == "folder" else {}
    found = read(dataset, root, tmp_path / "cache", **options)
    assert f"{splits[0]}/{name}: by its name normal images; expected a folder good" in found.error
    assert (f"set normal={name}" in found.error) == (dataset == "folder")


@pytest.mark.parametrize("name", ["000_mask_2.png", "000.png"])
def test_a_second_mask_is_told(name: str, brought: tuple[Path, list[Record]], tmp_path: Path) -> None:
    root, _ = brought
    some_mask(root).with_name(name).write_bytes(some_mask(root).read_bytes())
    found = read("mvtec", root, tmp_path / "cache")
    assert found.numbers == ALL
    assert f"broken/{name}, a second mask of an image, was not read" in found.flags


@pytest.mark.parametrize(
    ("suffix", "said"), [(".npy", "000_mask.npy, not an image of a known format"), ("_1.png", "000_mask_1")]
)
def test_a_mask_of_another_name_or_format_is_shown(
    suffix: str, said: str, brought: tuple[Path, list[Record]], tmp_path: Path
) -> None:
    root, _ = brought
    some_mask(root).rename(some_mask(root).with_name(f"000_mask{suffix}"))
    assert said in read("mvtec", root, tmp_path / "cache").error


@pytest.mark.parametrize("place", ["bottle", "bottle/train", ""])
def test_a_wrong_root_is_told_where_the_data_lie(
    place: str, brought: tuple[Path, list[Record]], tmp_path: Path
) -> None:
    root, _ = brought
    if place:
        assert f"give {root} as root" in read("mvtec", root / place, tmp_path / "cache").error
    else:
        assert f"the data lie in {root}" in read("folder", tmp_path, tmp_path / "cache").error


def test_folders_without_splits_are_told_with_their_options(brought: tuple[Path, list[Record]], tmp_path: Path) -> None:
    root, _ = brought
    (root / "bottle/train/good").rename(tmp_path / "good")
    flat = tmp_path / "flat"
    flat.mkdir()
    (tmp_path / "good").rename(flat / "ok")
    (root / "bottle/test/broken").rename(flat / "broken")
    error = read("folder", flat, tmp_path / "cache").error
    assert "normal_dir=ok, abnormal_dir=[broken]" in error
    assert read("folder", flat, tmp_path / "cache", normal_dir="ok", abnormal_dir=["broken"], masks=False).numbers


@pytest.mark.parametrize("kind", ["archive", "link"])
def test_a_class_that_is_an_archive_or_a_dead_link_is_told(
    kind: str, brought: tuple[Path, list[Record]], tmp_path: Path
) -> None:
    root, _ = brought
    (root / "cable").rename(root / ".cable")
    if kind == "archive":
        (root / "cable.tar.xz").write_bytes(b"\xfd7zXZ\0")
    else:
        (root / "cable").symlink_to("nowhere")
    flags = read("mvtec", root, tmp_path / "cache").flags
    assert ("cable.tar.xz is not unpacked" if kind == "archive" else "cable is a link that leads nowhere") in flags


def test_an_archive_is_to_be_unpacked(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/mvtec_anomaly_detection.tar.xz").write_bytes(b"\xfd7zXZ\0")
    assert "unpack mvtec_anomaly_detection.tar.xz" in read("mvtec", tmp_path / "data", tmp_path / "cache").error


def test_own_classes_of_a_list_are_checked_as_they_are_run(brought: tuple[Path, list[Record]], tmp_path: Path) -> None:
    root, records = brought
    (root / "bottle").rename(root / "my_part")
    mine = [
        one._replace(
            image=one.image.replace("bottle", "my_part"),
            mask=one.mask.replace("bottle", "my_part"),
            cls=one.cls.replace("bottle", "my_part"),
        )
        for one in records
    ]
    _lists(root, mine)
    assert "'my_part'" in read("mvtec", root, tmp_path / "cache").error
    found = read("mvtec", root, tmp_path / "cache", classes=["cable", "my_part"])
    assert found.numbers == ALL
    assert "1 class that the published set has not" in found.flags


def test_folders_that_no_option_names_and_second_masks_are_told(
    brought: tuple[Path, list[Record]], tmp_path: Path
) -> None:
    root, _ = brought
    mask = root / "bottle/ground_truth/broken/000_mask.png"
    mask.with_name("000_mask-2.png").write_bytes(mask.read_bytes())
    found = read(
        "folder",
        root / "bottle",
        tmp_path / "cache",
        normal_dir="train/good",
        abnormal_dir="test/broken",
        mask_dir="ground_truth/broken",
        normal_test_dir="test/good",
    )
    assert found.numbers is not None
    assert "broken/000_mask-2.png, a second mask of an image, was not read" in found.flags


def test_control_characters_of_a_name_stay_out_of_messages(brought: tuple[Path, list[Record]], tmp_path: Path) -> None:
    root, _ = brought
    first_train(root).with_name("a\x1b[31m\nb.png").write_bytes(b"x")
    assert "a\\x1b[31m\\nb.png" in read("mvtec", root, tmp_path / "cache").error


def test_files_of_systems_are_no_data(brought: tuple[Path, list[Record]], tmp_path: Path) -> None:
    root, _ = brought
    good = first_train(root).parent
    for name in ("Icon\r", "ehthumbs.db", "Desktop.ini"):
        (good / name).write_bytes(b"x")
    (good / "@eaDir").mkdir()
    (good / "@eaDir/thumbnail.png").write_bytes(first_train(root).read_bytes())
    assert read("mvtec", root, tmp_path / "cache").numbers == ALL


def test_classes_of_realiad_come_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIADBENCH_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "data"
    records = make_sample("realiad", root, classes=["mint", "zipper"], train=2, good=1, bad=1, size=16)
    (root / "realiad_1024/zipper").rename(root / ".zipper")
    found = read("realiad", root, tmp_path / "cache")
    assert found.numbers is not None
    assert found.numbers[0] == sum(one.cls == "mint" and one.split == "train" for one in records)
    assert "1 class is listed and has no folder in realiad_1024: zipper" in found.flags
    assert "no such folder" in read("realiad", root, tmp_path / "cache", classes=["mint", "zipper"]).error
    path = root / next(one.image for one in records if one.cls == "mint")
    path.unlink()
    assert "mint.json: train[0]" in read("realiad", root, tmp_path / "cache").error


# -- pixels ---------------------------------------------------------------------------------------------------------


def _cut_out(path: Path) -> None:
    values = np.asarray(Image.open(path).convert("RGBA")).copy()
    values[:8, :, 3] = 0
    Image.fromarray(values).save(path)


def _lab(path: Path) -> None:
    profiles = [ImageCms.createProfile(space) for space in ("sRGB", "LAB")]
    lab = ImageCms.profileToProfile(Image.open(path).convert("RGB"), profiles[0], profiles[1], outputMode="LAB")
    assert lab is not None
    lab.save(path, "TIFF")


def _turned_square(path: Path) -> None:
    tags = Image.Exif()
    tags[0x0112] = 3
    Image.open(path).save(path, exif=tags)


BAD = "bottle/test/broken/000.png"
PIXELS: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "transparent": (
        "bottle/train/good/000.png",
        _cut_out,
        "1 image has transparent pixels: its alpha channel is dropped",
    ),
    "a transparent grey": (
        "bottle/train/good/000.png",
        lambda path: Image.open(path).convert("LA").point(lambda value: value // 2).save(path),
        "alpha channel is dropped",
    ),
    "CMYK": (
        "bottle/train/good/000.png",
        lambda path: Image.open(path).convert("CMYK").save(path, "JPEG"),
        "1 image is CMYK, converted to RGB",
    ),
    "Lab": ("bottle/train/good/000.png", _lab, "1 image is Lab, converted to RGB"),
    "turned, its mask not": (BAD, _turned_square, "1 image is turned by its EXIF orientation, its mask is not"),
    "one pixel": (
        "bottle/train/good/000.png",
        lambda path: Image.new("RGB", (1, 1)).save(path),
        "1 image has a size far from its class's",
    ),
    "a strip": (
        "bottle/train/good/000.png",
        lambda path: Image.new("RGB", (4000, 2)).save(path),
        "1 image has a size far from its class's",
    ),
    "grey among colour": (
        "bottle/train/good/000.png",
        lambda path: Image.open(path).convert("L").save(path),
        "1 class has grey and colour images",
    ),
}


@pytest.mark.parametrize("kind", PIXELS)
def test_pixels_that_are_not_read_as_they_stand_are_told(
    kind: str, brought: tuple[Path, list[Record]], tmp_path: Path
) -> None:
    root, _ = brought
    path, change, said = PIXELS[kind]
    assert said not in read("mvtec", root, tmp_path / "cache").flags
    change(root / path)
    found = read("mvtec", root, tmp_path / "cache")
    assert found.numbers == ALL
    assert said in found.flags
    assert path in found.checked
    assert said in read("mvtec", root, tmp_path / "cache").flags  # from the remembered digests too


def test_an_opaque_alpha_channel_changes_nothing(brought: tuple[Path, list[Record]], tmp_path: Path) -> None:
    root, _ = brought
    for path in (root / "bottle").glob("t*/*/*.png"):
        Image.open(path).convert("RGBA").save(path)
    assert "alpha" not in read("mvtec", root, tmp_path / "cache").flags


OTHERS = {
    "a git-LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    "a web page": b"<!DOCTYPE html><html>404</html>",
    "a HEIC image": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(50),
    "an array of NumPy": b"\x93NUMPY\1\0" + bytes(50),
    "an SVG drawing": b"<svg/>",
}


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("place", [first_train, some_mask])
def test_another_file_in_place_of_an_image_is_named(
    kind: str, place: Callable[[Path], Path], brought: tuple[Path, list[Record]], tmp_path: Path
) -> None:
    root, _ = brought
    place(root).write_bytes(OTHERS[kind])
    assert f"{place(root)}: {kind}" in read("mvtec", root, tmp_path / "cache").error
