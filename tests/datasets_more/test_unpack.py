"""Archives from the network: what may be unpacked, and what is refused with its reason."""

from __future__ import annotations

import io
import random
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from diadbench.common.errors import UserError
from diadbench.datasets.downloading.unpack import unpack

FILES = {"set/train/000.png": b"a" * 5000, "set/readme.txt": b"read me", "set/empty": b""}


def make_zip(path: Path, files: dict[str, bytes], **attributes: int) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("set/", b"")
        for name, content in files.items():
            one = zipfile.ZipInfo(name)
            for key, value in attributes.items():
                setattr(one, key, value)
            archive.writestr(one, content, zipfile.ZIP_DEFLATED)
    return path


def make_tar(path: Path, files: dict[str, bytes], mode: str = "w", **attributes: object) -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            one = tarfile.TarInfo(name)
            one.size = len(content)
            for key, value in attributes.items():
                setattr(one, key, value)
            archive.addfile(one, io.BytesIO(content))
    return path


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.xz", "tar.bz2"])
def test_all_kinds_of_archives(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    mode = f"w:{kind.partition('.')[2]}" if "." in kind else "w"
    _ = make_zip(path, FILES) if kind == "zip" else make_tar(path, FILES, mode)
    told: list[str] = []
    assert unpack(path, tmp_path / "out", lambda done, total, what: told.append(what)) == 3
    assert {name: (tmp_path / "out" / name).read_bytes() for name in FILES} == FILES
    assert told


EVIL = ("../out.png", "a/../../out.png", "/etc/out.png", "C:/out.png", "..\\out.png", "a\\..\\..\\out.png")


@pytest.mark.parametrize("name", EVIL)
@pytest.mark.parametrize("kind", [make_zip, make_tar])
def test_a_path_that_leaves_the_directory_is_refused(
    kind: Callable[[Path, dict[str, bytes]], Path], name: str, tmp_path: Path
) -> None:
    archive = kind(tmp_path / "a", {"good.png": b"x", name: b"evil"})
    with pytest.raises(UserError, match="leads out of the directory; refused"):
        unpack(archive, tmp_path / "in" / "out")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["a", "good.png"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(kind: bytes, tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar", {"link": b""}, type=kind, linkname="/etc/passwd")
    with pytest.raises(UserError, match="link is a link or a device; refused"):
        unpack(archive, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"link": b"/etc"}, external_attr=(stat.S_IFLNK | 0o777) << 16)
    with pytest.raises(UserError, match="link is a link; refused"):
        unpack(archive, tmp_path / "out")


def test_an_encrypted_zip_is_told(tmp_path: Path) -> None:
    content = bytearray(make_zip(tmp_path / "a.zip", {"x": b"x"}).read_bytes())
    for mark, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = content.rfind(mark)
        content[at + place] |= 1
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(UserError, match="x is encrypted"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.xz"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_archive_is_told(kind: str, share: float, tmp_path: Path) -> None:
    files = {f"{i}.png": random.Random(i).randbytes(20_000) for i in range(5)}
    mode = f"w:{kind.partition('.')[2]}" if "." in kind else "w"
    path = tmp_path / f"a.{kind}"
    _ = make_zip(path, files) if kind == "zip" else make_tar(path, files, mode)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(UserError, match="cut off, damaged, or no zip or tar archive") as caught:
        unpack(path, tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_damage_inside_is_told(tmp_path: Path) -> None:
    content = bytearray(make_zip(tmp_path / "a.zip", {"x": bytes(range(256)) * 100}).read_bytes())
    content[100] ^= 255
    (tmp_path / "a.zip").write_bytes(content)
    (tmp_path / "b.zip").write_bytes(b"<html>")
    for name in ("a.zip", "b.zip"):
        with pytest.raises(UserError, match="cut off, damaged, or no zip or tar"):
            unpack(tmp_path / name, tmp_path / "out")


@pytest.mark.parametrize("names", [("x", "x/y"), ("x/y", "x"), ("n" * 300, "y")])
def test_names_that_cannot_be_are_told(names: tuple[str, str], tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar", dict.fromkeys(names, b"1"))
    with pytest.raises(UserError, match="damaged"):
        unpack(archive, tmp_path / "out")


def test_an_empty_archive_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no file"):
        unpack(make_zip(tmp_path / "a.zip", {}), tmp_path / "out")


def test_content_that_does_not_fit_is_told_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = make_zip(tmp_path / "a.zip", {"big": b"0" * 10**6})  # a small file, a large content
    assert archive.stat().st_size < 10_000
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 0, 10_000))  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=r"10\.0 kB free, 1\.0 MB needed for the content of a\.zip"):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out/big").exists()
