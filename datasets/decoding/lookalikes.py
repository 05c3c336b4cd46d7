"""Explain why a file isn't found although its name seems to exist: the difference is invisible."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

from diadbench.common.errors import UserError


def differs(path: Path | str) -> str:
    """Return the difference between a missing path and a name in its folder that looks the same; ``""`` for none.

    Upper and lower case, composed and decomposed letters (NFC, NFD), and leading and trailing spaces are compared.
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
    return ""


def _folder_differs(place: Path) -> str:
    for parent in place.parents:
        if parent.parent.is_dir():
            return "" if parent.is_dir() else differs(parent)
    return ""


def _plain(name: str) -> str:
    stem, suffix = os.path.splitext(unicodedata.normalize("NFC", name).casefold().strip())
    return stem.strip() + suffix


def _what(listed: str, found: str) -> str:
    if unicodedata.normalize("NFC", listed) == unicodedata.normalize("NFC", found):
        forms = ("composed (NFC)", "decomposed (NFD)")
        first = unicodedata.is_normalized("NFC", listed)
        listed_as, found_as = forms if first else forms[::-1]
        return f"the form of its letters: {listed_as} where it is listed, {found_as} on the disk"
    if listed.casefold() == found.casefold():
        return "upper and lower case"
    if "".join(listed.split()) == "".join(found.split()):
        return "a space at an end of the name"
    return "case, spaces or the form of its letters"


def shown(name: Path | str) -> str:
    """Return a path as one printable line: bytes that are not UTF-8 become ``\\xd5``."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return text.replace("\n", "\\n").replace("\r", "\\r")


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
