from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diadbench.common.errors import UserError
from diadbench.datasets.decoding.images import inside, read_image
from diadbench.datasets.decoding.mask_files import read_mask
from diadbench.datasets.decoding.masks import read_resized, resize_mask

RGB = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def test_rgb_is_read_as_it_is(tmp_path: Path) -> None:
    read = read_image(save(tmp_path / "a.png", Image.fromarray(RGB)))
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, RGB)


def test_grey_becomes_three_equal_channels(tmp_path: Path) -> None:
    read = read_image(save(tmp_path / "a.png", Image.fromarray(RGB[:, :, 0])))
    np.testing.assert_array_equal(read, np.repeat(RGB[:, :, :1], 3, axis=2))


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path, suffix: str) -> None:
    values = np.array([[0, 257, 256 * 257 // 2, 65535]], dtype=np.uint16)
    read = read_image(save(tmp_path / f"a.{suffix}", Image.fromarray(values)))
    assert read[0, :, 0].tolist() == [0, 1, 128, 255]
    assert read.shape == (1, 4, 3)


def test_palette_alpha_and_one_bit(tmp_path: Path) -> None:
    colours = Image.fromarray(np.repeat(np.array([[0, 255]], np.uint8), 2, 0)).convert("RGB")
    expected = np.asarray(colours)
    for name, image in {
        "p.png": colours.convert("P", palette=Image.Palette.ADAPTIVE),
        "rgba.png": colours.convert("RGBA"),
        "la.png": colours.convert("LA"),
        "one.png": colours.convert("1"),
    }.items():
        np.testing.assert_array_equal(read_image(save(tmp_path / name, image)), expected)


def test_transparent_pixels_keep_their_colour(tmp_path: Path) -> None:
    rgba = np.dstack([RGB, np.zeros(RGB.shape[:2], np.uint8)])
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", Image.fromarray(rgba))), RGB)


def test_cmyk(tmp_path: Path) -> None:
    red = Image.new("RGB", (8, 8), (250, 10, 10)).convert("CMYK")
    read = read_image(save(tmp_path / "a.jpg", red, quality=100))
    assert np.abs(read.astype(int) - [250, 10, 10]).max() < 12


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned: show it turned by 90 degrees clockwise
    read = read_image(save(tmp_path / "a.png", Image.fromarray(RGB), exif=exif))
    np.testing.assert_array_equal(read, np.rot90(RGB, -1))


def _png() -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "0 bytes"),
        (b"this is no image", "not an image of a known format"),
        (_png()[:3000], "damaged image"),
        (_png()[:4000] + b"\0" * 200 + _png()[4200:], "damaged image"),
        (None, "file not found"),
    ],
)
def test_what_can_not_be_read_is_refused_by_name(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "0 ünï=.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        read_image(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_directory_and_float_pixels_are_no_image(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="can't be read"):
        read_image(tmp_path)
    with pytest.raises(UserError, match="floating-point"):
        read_image(save(tmp_path / "a.tiff", Image.fromarray(np.ones((2, 2), np.float32))))


# -- masks ----------------------------------------------------------------------------------------------------

IDS = np.array([[0, 1, 9], [0, 255, 0]], np.uint8)


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(IDS),
        Image.fromarray(np.dstack([IDS * 0, IDS * 0, IDS])),
        Image.fromarray(np.dstack([IDS, np.full_like(IDS, 255)]), "LA"),
        Image.fromarray(IDS > 0).convert("1"),
        Image.fromarray(IDS.astype(np.uint16) * 256),
        Image.fromarray(255 - (IDS > 0) * np.uint8(255)).convert("P", palette=Image.Palette.ADAPTIVE),
    ],
    ids=["class-ids", "blue", "alpha", "one-bit", "16-bit", "palette"],
)
def test_a_mask_is_whatever_is_not_zero(tmp_path: Path, image: Image.Image) -> None:
    expected = IDS > 0
    if image.mode == "P":  # this one was drawn with black on white
        expected = ~expected
    mask = read_mask(save(tmp_path / "a.png", image))
    assert mask.dtype == np.bool_
    np.testing.assert_array_equal(mask, expected)


def test_a_directory_of_masks_is_their_union(tmp_path: Path) -> None:
    (tmp_path / "000").mkdir()
    save(tmp_path / "000" / "000.png", Image.fromarray(np.array([[255, 0, 0]], np.uint8)))
    save(tmp_path / "000" / "001.PNG", Image.fromarray(np.array([[0, 3, 0]], np.uint8)), format="PNG")
    (tmp_path / "000" / ".DS_Store").write_bytes(b"x")
    assert read_mask(tmp_path / "000").tolist() == [[True, True, False]]
    save(tmp_path / "000" / "002.png", Image.fromarray(np.zeros((2, 2), np.uint8)))
    with pytest.raises(UserError, match=r"002\.png: mask of 2x2 beside masks of 3x1"):
        read_mask(tmp_path / "000")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="without images"):
        read_mask(tmp_path / "empty")


def test_rules_for_resizing_masks() -> None:
    ids = np.zeros((8, 8), np.uint8)
    ids[2:4, 2:4] = 1  # a defect with class id 1: one pixel at half the size
    ids[6, 6] = 255
    half = {rule: resize_mask(ids, (4, 4), rule) for rule in ("nearest", "ader", "diad", "uniad")}  # type: ignore[arg-type]
    assert all(mask.dtype == np.bool_ and mask.shape == (4, 4) for mask in half.values())
    assert np.argwhere(half["ader"]).tolist() == [[1, 1]]  # the lone pixel is lost: its share is below one half
    assert half["diad"][3, 3]  # and grows here,
    assert not half["diad"][0, 0]
    assert half["diad"].sum() > half["ader"].sum()
    np.testing.assert_array_equal(half["nearest"], half["uniad"])
    np.testing.assert_array_equal(half["nearest"], ids[1::2, 1::2] > 0)


def test_rules_agree_with_torchvision() -> None:
    from torchvision.transforms.functional import resize, to_tensor

    mask = np.random.default_rng(0).integers(0, 2, (37, 53)).astype(np.uint8) * 255
    by_torchvision = to_tensor(resize(Image.fromarray(mask), [16, 16]))[0].numpy()
    np.testing.assert_array_equal(resize_mask(mask, (16, 16), "ader"), by_torchvision > 0.5)
    np.testing.assert_array_equal(resize_mask(mask, (16, 16), "diad"), by_torchvision > 0)


def test_mask_of_another_size_than_its_image(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(IDS))
    with pytest.raises(UserError, match=r"a\.png: mask of 3x2 for an image of 5x4"):
        read_resized(path, (4, 5), (2, 2), "nearest")
    with pytest.raises(UserError, match="did you mean nearest"):
        resize_mask(IDS, (2, 2), "nearst")  # type: ignore[arg-type]


# -- paths ----------------------------------------------------------------------------------------------------


def test_a_path_that_leaves_the_root_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.png").write_bytes(b"x")
    (root / "a" / "link.png").symlink_to(outside / "x.png")
    (root / "b").symlink_to(outside)
    (root / "a" / "fine.png").symlink_to(root / "a" / "x.png")
    for relative in ("a/link.png", "b/x.png", "../outside/x.png", "/etc/passwd", "a/../../outside/x.png"):
        with pytest.raises(UserError, match="leaves the data root"):
            inside(root, relative)
    assert inside(root, "a/fine.png") == root / "a" / "fine.png"
    assert inside(root, "a/missing.png") == root / "a" / "missing.png"


def test_the_root_itself_may_be_a_symlink(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "real")
    assert inside(tmp_path / "root", "x.png") == tmp_path / "root" / "x.png"


def test_a_loop_of_symlinks_ends(tmp_path: Path) -> None:
    os.symlink(tmp_path / "a.png", tmp_path / "b.png")
    os.symlink(tmp_path / "b.png", tmp_path / "a.png")
    with pytest.raises(UserError, match=r"a\.png"):
        read_image(inside(tmp_path, "a.png"))


def test_exif_data_that_cannot_be_read_are_not_called_a_damaged_image(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png", exif=b"no TIFF at all")
    with pytest.raises(UserError, match=r"a\.png: its EXIF data can't be read .*remove them") as caught:
        read_image(tmp_path / "a.png")
    assert "damaged" not in str(caught.value)
