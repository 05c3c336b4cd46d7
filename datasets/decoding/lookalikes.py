"""Explain why a file isn't found although its name seems to exist, and what lies under a name that means another."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from diadbench.common.errors import UserError
from diadbench.common.wording import printable

#: The end of an archive's name.
ARCHIVE = re.compile(r"\.(?:zip|tar|tgz|rar|7z|tar\.(?:gz|xz|bz2|zst))$", re.IGNORECASE)
#: Folders that are looked into for a missing name.
_MOST_FOLDERS = 100


def differs(path: Path | str) -> str:
    """Return the difference between a missing path and a name in its folder that looks the same; ``""`` for none.

    Upper and lower case, composed and decomposed letters (NFC, NFD), leading and trailing spaces, ``%20`` for a space,
    and the suffix are compared.
    """
    place = Path(path)
    if not place.parent.is_dir():
        return _folder_differs(place)
    try:
        names = os.listdir(place.parent)
    except OSError:
        return ""
    for name in sorted(names):
        if name != place.name and _plain(name) == _plain(place.name):
            return f"there is {shown(name)!r}, which differs in {_what(place.name, name)}: rename it, or mend the list"
    other = next((name for name in sorted(names) if _is_other_format(name, place.name)), "")
    if other:
        what = "an archive: unpack it" if ARCHIVE.search(other) else ""
        return (
            f"there is {shown(other)!r}, {what or 'of another format: mend the list, or get the files that it names'}"
        )
    return _one_deeper(place, sorted(names))


def _one_deeper(place: Path, names: Sequence[str]) -> str:
    """Return where a name that is missing in a folder lies one folder deeper; ``""`` if it doesn't."""
    deeper = (
        f"{name}/{place.name}" for name in names[:_MOST_FOLDERS] if os.path.exists(place.parent / name / place.name)
    )
    found = next(deeper, "")
    return f"there is {shown(found)!r}, one folder deeper: move it up" if found else ""


def _is_other_format(name: str, missing: str) -> bool:
    stem, suffix = os.path.splitext(name)
    return bool(suffix) and suffix != os.path.splitext(missing)[1] and stem == os.path.splitext(missing)[0]


def _folder_differs(place: Path) -> str:
    for parent in place.parents:
        if parent.parent.is_dir():
            return "" if parent.is_dir() else differs(parent)
    return ""


def _plain(name: str) -> str:
    stem, suffix = os.path.splitext(unicodedata.normalize("NFC", unquote(name)).casefold().strip())
    return stem.strip() + suffix


def _what(listed: str, found: str) -> str:
    if unicodedata.normalize("NFC", listed) == unicodedata.normalize("NFC", found):
        forms = ("composed (NFC)", "decomposed (NFD)")
        first = unicodedata.is_normalized("NFC", listed)
        listed_as, found_as = forms if first else forms[::-1]
        return f"the form of its letters: {listed_as} where it is listed, {found_as} on the disk"
    if unquote(listed) == found:
        return "characters written as in a web address (%20)"
    if listed.casefold() == found.casefold():
        return "upper and lower case"
    if "".join(listed.split()) == "".join(found.split()):
        return "a space at an end of the name"
    return "case, spaces or the form of its letters"


#: What a file is by its first bytes, with advice, where it is neither an image nor a list.
_CONTENTS = (
    (b"version https://git-lfs", "a git-LFS pointer, not the file itself; fetch it with `git lfs pull`"),
    (b"<svg", "an SVG drawing; convert it to PNG"),
    (b"<!doctype", "a web page (HTML), not the file itself; download it again"),
    (b"<html", "a web page (HTML), not the file itself; download it again"),
    (b"<?xml", "XML, such as a server's error message; download the file again"),
    (b"pk\3\4", "a zip archive; unpack it"),
    (b"\x1f\x8b", "a gzip archive; unpack it"),
    (b"\xfd7zxz", "an xz archive; unpack it"),
    (b"%pdf", "a PDF file; export its images"),
    (b"\x93numpy", "an array of NumPy (.npy); save it as PNG"),
    (b"\xff\x0a", "a JPEG XL image; convert it to PNG"),
)
#: Brands of MP4 and QuickTime with films in them; images and photographs of cameras have others.
_FILMS = (b"iso", b"mp4", b"avc1", b"qt  ", b"M4V", b"3g", b"dash", b"MSNV", b"F4V", b"XAVC")
_VIDEOS = (b"\x1a\x45\xdf\xa3", b"FLV\1", b"\0\0\1\xba", b"\0\0\1\xb3", b"OggS", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11")
_HEIF = (b"heic", b"heix", b"hevc", b"mif1", b"msf1")


def other_content(content: bytes) -> str:
    """Return what a file is that is no image or list, by its first bytes, with advice; ``""`` if that isn't known."""
    head = content[:64].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if content[4:8] == b"ftyp" and content[8:12] in _HEIF:
        return "a HEIC image, as iPhones write it; convert it to PNG or JPEG"
    if _is_video(content):
        return "a video; take its frames out as PNG (`ffmpeg -i FILE frame%05d.png`)"
    return next((text for start, text in _CONTENTS if head.startswith(start)), "")


def _is_video(content: bytes) -> bool:
    """Whether a file begins like MP4, QuickTime, Matroska, WebM, AVI, Flash video, MPEG, Ogg or ASF."""
    if content[4:8] == b"ftyp":
        return content[8:12].startswith(_FILMS)
    return content.startswith(_VIDEOS) or (content[:4] == b"RIFF" and content[8:12] == b"AVI ")


def shown(name: Path | str) -> str:
    """Return a path, or a text with paths, as one printable line (:func:`~diadbench.common.wording.printable`)."""
    return printable(os.fspath(name))


def is_utf8(name: str) -> bool:
    """Whether a file name, as Python reads it from the disk, is UTF-8."""
    return not any(0xD800 <= ord(letter) <= 0xDFFF for letter in name)


def check_encoding(folder: Path | str, name: str) -> None:
    """Refuse a file name that isn't UTF-8, because it can't be written into tables and caches.

    Raises:
        UserError: The message states the folder, the bytes, and the likely name.
    """
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        content = os.fsencode(name)
        guess = next(
            (f" ({one} reads it as {text})" for one in ("gbk", "shift_jis") if (text := _read_as(content, one))), ""
        )
        raise UserError(
            f"{shown(folder)}: the name {shown(name)} is not UTF-8{guess}; rename it, for example with convmv"
        ) from error


def _read_as(content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        return ""
