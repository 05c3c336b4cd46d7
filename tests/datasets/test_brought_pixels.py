"""Images that aren't read as they stand are told in the check and in tables; other files in their place are named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from diadbench.common.errors import UserError
from diadbench.datasets.decoding.images import open_image
from diadbench.datasets.samples.paint import Record
from tests.helpers.brought import ALL, first_train, read, some_mask


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


@pytest.mark.parametrize(
    ("name", "codec"), [("x.avi", "MJPG"), ("x.mp4", "mp4v"), ("x.mov", "mp4v"), ("x.mkv", "MJPG")]
)
def test_a_video_in_place_of_an_image_is_named(name: str, codec: str, tmp_path: Path) -> None:
    writer = cv2.VideoWriter(str(tmp_path / name), cv2.VideoWriter.fourcc(*codec), 5, (64, 64))
    writer.write(np.zeros((64, 64, 3), np.uint8))
    writer.release()
    with pytest.raises(UserError, match=rf"{name}: a video; take its frames out"):
        open_image((tmp_path / name).read_bytes(), tmp_path / name)
