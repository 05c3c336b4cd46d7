"""Masks that can't be meant so: each is told with its likely cause, by the check and by a run; options set it right."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from diadbench.common.errors import UserError
from diadbench.common.values.arguments import given_arguments
from diadbench.datasets import get, get_class
from diadbench.datasets.checking.check import check
from diadbench.datasets.checking.prepare import prepare
from diadbench.datasets.decoding.data_module import DataModule
from diadbench.datasets.decoding.mask_files import read_mask
from diadbench.datasets.decoding.reading import Reading

SIDE = 64
Array = np.ndarray[Any, Any]


def truth(i: int) -> Array:
    """The defect of the image ``i``: 144 pixels."""
    mask = np.zeros((SIDE, SIDE), bool)
    mask[10 + i : 22 + i, 10 + i : 22 + i] = True
    return mask


def photo(seed: int) -> Array:
    return np.random.default_rng(seed).integers(40, 200, (SIDE, SIDE, 3), dtype=np.uint8)


def save(values: Array | Image.Image, path: Path, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    (values if isinstance(values, Image.Image) else Image.fromarray(values)).save(path, **options)


def gear(root: Path) -> Path:
    """Write one class with three defects."""
    for i in range(2):
        save(photo(i), root / f"gear/train/good/{i:03}.png")
    save(photo(9), root / "gear/test/good/000.png")
    for i in range(3):
        save(photo(20 + i), root / f"gear/test/scratch/{i:03}.png")
        save(truth(i).astype(np.uint8) * 255, mask_path(root, i))
    return root


def mask_path(root: Path, i: int) -> Path:
    return root / f"gear/ground_truth/scratch/{i:03}_mask.png"


def masks_of(root: Path, **options: Any) -> tuple[Array, tuple[str, ...]]:
    """Return the masks of the three defects as a cell gets them, and what the cell says."""
    data = DataModule(get("folder", root, **options), SIDE, workers=1)
    _, test = data.part(data.dataset.groups()[0])
    (batch,) = test.batches(8)
    assert batch.mask is not None
    return batch.mask.numpy()[1:], data.notes


def rewrite(root: Path, change: Callable[[Array, int], Array | Image.Image], numbers: range = range(3)) -> None:
    for i in numbers:
        save(change(truth(i), i), mask_path(root, i))


def as_jpeg(root: Path, quality: int = 75) -> None:
    for i in range(3):
        save(truth(i).astype(np.uint8) * 255, mask_path(root, i).with_suffix(".jpg"), quality=quality)
        mask_path(root, i).unlink()


@pytest.mark.parametrize("quality", [30, 75, 95])
def test_jpeg_masks_are_the_masks_and_are_said(quality: int, tmp_path: Path) -> None:
    root = gear(tmp_path / "data")
    as_jpeg(root, quality)
    found, notes = masks_of(root)
    assert found.sum(axis=(1, 2)).tolist() == [144] * 3
    assert notes == ("3 masks are JPEG files, thresholded at half",)
    raw, _ = masks_of(root, masks={"threshold": 0})
    assert raw.sum() > found.sum()  # what "not 0" makes of the noise


def test_resized_masks_are_thresholded_at_half(tmp_path: Path) -> None:
    root = gear(tmp_path / "data")
    for i in range(3):
        large = Image.fromarray(truth(i).astype(np.uint8) * 255).resize((4 * SIDE, 4 * SIDE), Image.Resampling.NEAREST)
        save(large.resize((SIDE, SIDE), Image.Resampling.BICUBIC), mask_path(root, i))
    found, notes = masks_of(root)
    np.testing.assert_array_equal(found, [truth(i) for i in range(3)])
    assert notes == ("3 masks have grey values, thresholded at half",)


def _framed(mask: Array, i: int) -> Array:
    mask[[0, -1]] = mask[:, [0, -1]] = True
    return mask.astype(np.uint8) * 255


def _trimap(mask: Array, i: int) -> Array:
    values = mask.astype(np.uint8) * 255
    values[40:60, 40:60] = 128
    return values


def _in_alpha(mask: Array, i: int) -> Array:
    return np.dstack([np.zeros((SIDE, SIDE, 3), np.uint8), mask.astype(np.uint8) * 255])


def _over_the_photo(mask: Array, i: int) -> Array:
    values = photo(20 + i)
    values[mask] = [255, 0, 0]
    return values


def _red_on_white(mask: Array, i: int) -> Array:
    return np.where(mask[..., None], np.uint8([255, 0, 0]), np.uint8([255, 255, 255]))


ODD: dict[str, tuple[Callable[[Array, int], Array], str]] = {
    "inverted": (lambda mask, i: (~mask).astype(np.uint8) * 255, "{n} looks inverted|{n} look inverted"),
    "white": (lambda mask, i: np.full(mask.shape, 255, np.uint8), "covers its whole image|cover their whole images"),
    "framed": (_framed, "has a frame|have a frame"),
    "a trimap": (_trimap, "has three values, a trimap|have three values, trimaps"),
    "over the photo": (_over_the_photo, "looks like a photo|look like photos"),
    "background of 1": (
        lambda mask, i: np.where(mask, 2, 1).astype(np.uint8),
        "has a background that is not 0|have a background that is not 0",
    ),
    "in the alpha channel": (
        _in_alpha,
        "lies in an alpha channel that isn't read|lie in alpha channels that aren't read",
    ),
    "in red on white": (
        _red_on_white,
        "is drawn in colours on a bright background|are drawn in colours on bright backgrounds",
    ),
    "over half of the image": (
        lambda mask, i: np.pad(np.full((50, 50), 255, np.uint8), ((7 + i, 7 - i), (7, 7))),
        "covers more than half of its image|cover more than half of their images",
    ),
    "numbers of kinds": (
        lambda mask, i: (
            np.where(mask, 10, 0).astype(np.uint8) + np.pad(np.full((9, 9), 20, np.uint8), ((50, 5), (5, 50)))
        ),
        "has grey values|have grey values",
    ),
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("count", [1, 3])
def test_each_is_told_with_its_cause_by_check_and_run(kind: str, count: int, tmp_path: Path) -> None:
    root = gear(tmp_path / "data")
    change, said = ODD[kind]
    rewrite(root, change, range(count))
    one, _, many = said.replace("{n} ", "").partition("|")
    note = f"1 mask {one}" if count == 1 else f"3 masks {many}"
    report = check("folder", root, size=SIDE, workers=1)
    assert report.ok
    assert note in report.notes()
    (finding, *_) = [one for one in report.findings if one.kind in ("odd-mask", "grey-mask")]
    assert "_mask.png" in finding.path
    assert finding.advice
    assert note in masks_of(root)[1]


def test_equal_masks_for_all_images(tmp_path: Path) -> None:
    root = gear(tmp_path / "data")
    for i in (1, 2):
        shutil.copy(mask_path(root, 0), mask_path(root, i))
    assert check("folder", root, size=SIDE).notes() == ("1 class has equal masks for all images",)
    assert masks_of(root)[1] == ("1 class has equal masks for all images",)


def test_whole_masks_say_nothing(tmp_path: Path) -> None:
    assert masks_of(gear(tmp_path / "data"))[1] == ()


@pytest.mark.parametrize(
    ("change", "options"),
    [
        (lambda mask, i: (~mask).astype(np.uint8) * 255, {"invert": True}),
        (lambda mask, i: np.where(mask, 0, 90).astype(np.uint8), {"invert": True, "threshold": 40}),
        (_trimap, {"threshold": 128}),
        (lambda mask, i: np.where(mask, 2, 1).astype(np.uint8), {"threshold": 1}),
    ],
    ids=["inverted", "inverted and grey", "trimap", "background"],
)
def test_options_set_it_right_and_tables_say_so(
    change: Callable[[Array, int], Array], options: dict[str, Any], tmp_path: Path
) -> None:
    root = gear(tmp_path / "data")
    rewrite(root, change)
    found, notes = masks_of(root, masks=options)
    np.testing.assert_array_equal(found, [truth(i) for i in range(3)])
    assert notes == ()
    dataset = get("folder", root, **{f"masks.{key}": value for key, value in options.items()})
    assert ("masks inverted" in dataset.flags) == ("invert" in options)
    plain = DataModule(get("folder", root), SIDE).fingerprint
    assert DataModule(dataset, SIDE).fingerprint != plain  # part of a cell's identity
    assert DataModule(get("folder", root, masks={}), SIDE).fingerprint == plain


@pytest.mark.parametrize("name", ["mvtec", "folder", "realiad", "kolektorsdd"])
def test_dotted_options_are_read_and_wrong_ones_refused(name: str, tmp_path: Path) -> None:
    cls = get_class(name)
    given = given_arguments(cls, {"masks.threshold": 127, "masks.invert": True})
    assert given == {"masks": {"threshold": 127, "invert": True}}
    for options, says in (
        ({"masks": {"threshold": 255}}, "masks.threshold 255; expected a whole number from 0 to 254"),
        ({"masks": {"invert": 1}}, "masks.invert 1; expected true or false"),
        ({"masks": {"treshold": 3}}, "did you mean threshold"),
        ({"bit_depth": 17}, "bit_depth 17; expected a whole number from 8 to 16"),
    ):
        with pytest.raises(UserError, match=says):
            get(name, tmp_path, **options)


def test_a_mask_of_a_normal_image_says_its_cause(tmp_path: Path) -> None:
    root = gear(tmp_path / "data")
    save(np.full((SIDE, SIDE), 255, np.uint8), root / "gear/ground_truth/good/000_mask.png")
    report = check("folder", root, size=SIDE)
    assert [one.kind for one in report.of("error")] == ["mask-label"]
    assert "covers the whole image" in report.of("error")[0].what
    with pytest.raises(UserError, match=r"000_mask\.png"):
        prepare("folder", root, size=SIDE)


def test_masks_of_many_kinds_of_files_are_the_same_mask(tmp_path: Path) -> None:
    mask = truth(0)
    grey = mask.astype(np.uint8) * 255
    palette = Image.fromarray(mask.astype(np.uint8), "P")
    palette.putpalette([0, 0, 0, 128, 0, 0])
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, image, options in (
        ("one-bit.png", Image.fromarray(mask), {}),
        ("palette.png", palette, {}),
        ("rgba.png", Image.fromarray(grey).convert("RGBA"), {}),
        ("deep.png", Image.fromarray(mask.astype(np.uint16) * 65535), {}),
        ("instances.tif", Image.fromarray(mask.astype(np.int32)), {}),
        ("lossless.webp", Image.fromarray(grey), {"lossless": True}),
        ("lossy.webp", Image.fromarray(grey), {"quality": 50}),
        ("turned.png", Image.fromarray(np.ascontiguousarray(np.rot90(grey))), {"exif": exif}),
        ("cmyk.jpg", Image.fromarray(np.dstack([grey] * 3)).convert("CMYK"), {"quality": 90}),
    ):
        save(image, tmp_path / name, **options)
        np.testing.assert_array_equal(read_mask(tmp_path / name), mask, err_msg=name)


def test_colours_of_16_bits_keep_small_numbers(tmp_path: Path) -> None:
    numbers = np.repeat(truth(0)[..., None].astype(np.uint16), 3, axis=2)
    tifffile.imwrite(tmp_path / "deep.tif", numbers, photometric="rgb")
    cv2.imwrite(str(tmp_path / "deep.png"), numbers)
    for name in ("deep.tif", "deep.png"):
        np.testing.assert_array_equal(read_mask(tmp_path / name), truth(0), err_msg=name)


def test_a_dark_mask_below_the_threshold_is_told_so(tmp_path: Path) -> None:
    root = gear(tmp_path / "data")
    save(truth(0).astype(np.uint8) * 40, mask_path(root, 0).with_suffix(".jpg"), quality=95)
    mask_path(root, 0).unlink()
    (finding,) = [one for one in check("folder", root, size=SIDE).findings if one.kind == "empty-mask"]
    assert "no positive pixel above the threshold; get it again, or set masks.threshold lower" in finding.line()
    assert read_mask(mask_path(root, 0).with_suffix(".jpg"), Reading(threshold=20)).sum() == truth(0).sum()
