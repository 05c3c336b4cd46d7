"""Images of more than 8 bits keep their grey levels; files whose pixels nobody reads are refused by what they are."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from diadbench.common.errors import UserError
from diadbench.datasets import get
from diadbench.datasets.checking.check import check
from diadbench.datasets.decoding.data_module import DataModule
from diadbench.datasets.decoding.images import read_image

RAMP = np.linspace(0, 1, 24 * 24).reshape(24, 24)
Array = np.ndarray[Any, Any]


def png(values: Array) -> bytes:
    out = io.BytesIO()
    Image.fromarray(values).save(out, "PNG")
    return out.getvalue()


def tiff(values: Array, **options: Any) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, values, **options)
    return out.getvalue()


def colour_png(values: Array) -> bytes:
    import cv2

    return bytes(cv2.imencode(".png", values)[1])


def deep(bits: int, dim: float = 1.0) -> Array:
    return (RAMP * dim * (2**bits - 1)).round().astype(np.uint16)


def write_set(root: Path, images: list[bytes], suffix: str = "png") -> Path:
    """Write one class without defects: two training and two test images."""
    for content, place in zip(images, ("train/good/0", "train/good/1", "test/good/0", "test/good/1")):
        path = root / f"gear/{place}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def batch(root: Path, **options: Any) -> tuple[Array, DataModule]:
    data = DataModule(get("folder", root, masks=False, **options), 24, workers=1)
    train, _ = data.part(data.dataset.groups()[0])
    return (train.images([0])[0].numpy() * 255).round(), data


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
@pytest.mark.parametrize("kind", ["grey", "colour png", "colour tiff"])
def test_the_depth_is_found_over_the_set_and_said(kind: str, bits: int, tmp_path: Path) -> None:
    dim, bright = deep(bits, 0.2), deep(bits)  # the brightest image is a test image
    made = {
        "grey": png,
        "colour png": lambda values: colour_png(np.dstack([values] * 3)),
        "colour tiff": lambda values: tiff(np.dstack([values] * 3), photometric="rgb"),
    }[kind]
    root = write_set(tmp_path / "data", [made(dim), made(dim + 1), made(dim), made(bright)])
    found, data = batch(root)
    np.testing.assert_allclose(found, np.stack([RAMP * 0.2 * 255] * 3), atol=1)
    assert data.bit_depth == bits
    note = f"16-bit images use {bits} bits: scaled as {bits} bits"
    assert note in data.notes
    assert note in check("folder", root, size=24, masks=False).notes()


def test_images_of_another_camera_in_one_set_are_told(tmp_path: Path) -> None:
    root = write_set(tmp_path / "data", [png(deep(16)), png(deep(12)), png(deep(10)), png(deep(16))])
    _, data = batch(root)
    found = check("folder", root, size=24, masks=False)
    assert "2 of 4 16-bit images: at most 12 bits used, by others 16: scaled as 16 bits" in data.notes
    assert [one.kind for one in found.findings if one.kind == "mixed-depths"] == ["mixed-depths"]
    assert set(found.notes()) == set(data.notes)


def test_one_camera_is_not_told_as_several(tmp_path: Path) -> None:
    root = write_set(tmp_path / "data", [png(deep(12)), png(deep(12, 0.3)), png(deep(12)), png(deep(12))])
    assert not any("by others" in note for note in batch(root)[1].notes)


def test_sixteen_bits_stay_as_they_were(tmp_path: Path) -> None:
    root = write_set(tmp_path / "data", [png(deep(16))] * 4)
    found, data = batch(root)
    np.testing.assert_array_equal(found[0], (deep(16).astype(int) + 128) // 257)
    assert data.bit_depth == 16
    assert not [note for note in data.notes if "bits" in note]


def test_the_option_decides_and_is_part_of_the_identity(tmp_path: Path) -> None:
    root = write_set(tmp_path / "data", [png(deep(10))] * 4)
    auto, data = batch(root)
    set_by_hand, other = batch(root, bit_depth=12)
    np.testing.assert_allclose(set_by_hand, auto / 4, atol=1)
    assert "16-bit images read as 12 bits" in other.dataset.flags
    assert data.fingerprint != other.fingerprint
    with pytest.raises(UserError, match=r"\.png: a value of 1,023, beyond 9 bits \(511\); set bit_depth to 10"):
        batch(root, bit_depth=9)
    assert not check("folder", root, size=24, masks=False, bit_depth=9).ok


def test_white_may_be_zero(tmp_path: Path) -> None:
    eight = (RAMP * 255).round().astype(np.uint8)
    for name, values in (("8", eight), ("16", eight.astype(np.uint16) * 257)):
        (tmp_path / name).write_bytes(tiff(values, photometric="miniswhite"))
        np.testing.assert_array_equal(read_image(tmp_path / name)[:, :, 0], 255 - eight)


def _frames(kind: str) -> bytes:
    out = io.BytesIO()
    first, second = Image.new("RGB", (9, 9), "red"), Image.new("RGB", (9, 9), "blue")
    first.save(out, kind, save_all=True, append_images=[second])
    return out.getvalue()


EIGHT = (RAMP * 255).astype(np.uint8)
REFUSED: dict[str, tuple[bytes, str]] = {
    "pages": (tiff(np.stack([EIGHT] * 4), photometric="minisblack"), r"4 pages \(frames\) in one file"),
    "animated webp": (_frames("WEBP"), r"2 pages \(frames\)"),
    "animated png": (_frames("PNG"), r"2 pages \(frames\)"),
    "five channels": (tiff(np.dstack([EIGHT] * 5), photometric="minisblack", planarconfig="contig"), "5 channels"),
    "four planes": (tiff(np.stack([EIGHT] * 4), photometric="minisblack", planarconfig="separate"), "4 channels"),
    "signed": (tiff(deep(12).astype(np.int16) - 2000), "signed pixels"),
    "signed, none below 0": (tiff(deep(12).astype(np.int16)), "signed pixels"),
    "floating point": (tiff(RAMP.astype(np.float32)), "floating-point"),
    "64 bits": (tiff(RAMP), r"float64|floating-point"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_pixels_that_nobody_reads_are_refused_by_what_they_are(kind: str, tmp_path: Path) -> None:
    content, says = REFUSED[kind]
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(UserError, match=rf"a\.tif: .*{says}") as caught:
        read_image(tmp_path / "a.tif")
    assert "damaged" not in str(caught.value)
    assert "known format" not in str(caught.value)


def test_a_reduced_copy_is_no_second_page(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(EIGHT, photometric="minisblack")
        writer.write(EIGHT[::2, ::2], photometric="minisblack", subfiletype=1)
    np.testing.assert_array_equal(read_image(path)[:, :, 0], EIGHT)
