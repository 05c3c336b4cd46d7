"""Read one file that may be a list of samples in any encoding and form, by its content rather than its name.

A file that looks like a list but can't be read keeps its error, which is raised for every caller that asks for the
list, so that the file isn't mistaken for something else.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diadbench.common.errors import UserError
from diadbench.datasets.decoding.lookalikes import other_content
from diadbench.datasets.layouts.list_records import KEYS, USUAL_NAMES, Entry, no_key_twice, parsed_json, value_of
from diadbench.datasets.layouts.list_records import rest_of_name as rest_of_name
from diadbench.datasets.layouts.list_records import split_of_name as split_of_name
from diadbench.datasets.layouts.list_tables import HEAD, IMAGE_NAME, looks_like_list, parsed_table

#: Suffixes of files that may be lists.
LIST_SUFFIXES = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".txt")


@dataclass(frozen=True)
class ListFile:
    """A file that is, or looks like, a list of samples.

    Attributes:
        path: The file.
        form: ``meta``, ``lines``, ``csv``; ``broken`` where it looks like a list and can't be read; ``other`` where it
            is none.
        entries: Its records.
        error: Why it can't be read, one line with file and line; ``""`` if it can.
        words: Parts of its paths and its classes, which show the dataset that it belongs to.
    """

    path: Path
    form: str
    entries: tuple[Entry, ...] = ()
    error: str = ""
    words: frozenset[str] = field(default_factory=frozenset)

    @property
    def usual(self) -> bool:
        """Whether its name is usual for lists."""
        return self.path.name.lower() in USUAL_NAMES

    @property
    def has_splits(self) -> bool:
        """Whether its records state their split."""
        return self.form == "meta" or any(value_of(entry.values, "split")[0] for entry in self.entries[:1])


def list_file(path: Path) -> ListFile:
    """Read a file that may be a list. The result is cached while the file doesn't change."""
    try:
        stat = path.stat()
    except OSError as error:
        return ListFile(path, "broken", error=f"{path}: can't be read ({error.strerror})")
    return _read(path, stat.st_mtime_ns, stat.st_size)


def read_text(path: Path) -> str:
    """Return a text file's content: UTF-8 or UTF-16, with or without a byte-order mark.

    Raises:
        UserError: The file can't be read, is empty, or is in another encoding (with the line).
    """
    try:
        if not path.is_file() and path.exists():  # Reading a pipe would wait for ever.
            raise UserError(f"{path}: can't be read (it is no regular file)")
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{path}: file not found") from error
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror})") from error
    if not content.strip(b"\0 \t\r\n"):
        kind = "not a CSV file: " if path.suffix.lower() == ".csv" else ""
        raise UserError(f"{path}: {kind}the file is empty; get it again, or remove it")
    try:
        return content.decode(_encoding(content))
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        kind = "not a CSV file that can be read: " if path.suffix.lower() == ".csv" else ""
        raise UserError(
            f"{path}: {kind}line {line}: byte {content[error.start]:#04x} is not {error.encoding.upper()}; "
            "save it as UTF-8, or get it again"
        ) from error


def load_json(path: Path) -> Any:
    """Read a JSON file. Raises UserError if it is missing, broken (with the line), or has a repeated key."""
    text = read_text(path)
    try:
        return json.loads(text, object_pairs_hook=no_key_twice)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: broken JSON ({error}); get the file again") from error


def _encoding(content: bytes) -> str:
    for mark, name in ((b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32"), (b"\xef\xbb\xbf", "utf-8-sig")):
        if content.startswith(mark):
            return name
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if b"\0" in content[:4]:  # PowerShell and others write UTF-16 without a mark; a list begins with ASCII.
        return "utf-16-be" if content[0] == 0 else "utf-16-le"
    return "utf-8"


@functools.lru_cache(maxsize=64)
def _read(path: Path, mtime_ns: int, size: int) -> ListFile:
    usual = path.name.lower() in USUAL_NAMES
    if not path.is_file():
        return ListFile(path, "broken" if usual else "other", error=f"{path}: can't be read (it is no regular file)")
    try:
        if not usual and size > HEAD and not _may_be_list(head_of(path)):
            return ListFile(path, "other")
        text = read_text(path)
    except UserError as error:
        text = _read_loosely(path)  # A list in another encoding is a list.
        form = "broken" if usual or looks_like_list(text, path) else "other"
        return ListFile(path, form, error=str(error), words=_words_of_text(text))
    try:
        form, entries = _parsed(text, path)
    except UserError as error:
        form = "broken" if usual or looks_like_list(text, path) else "other"
        return ListFile(path, form, error=str(error), words=_words_of_text(text))
    return ListFile(path, form, tuple(entries), words=_words(entries))


def _read_loosely(path: Path) -> str:
    """Return what can be read of a file in an unknown encoding, for ASCII words in it; ``""`` if nothing can."""
    try:
        return path.read_bytes().decode("latin-1")
    except OSError:
        return ""


def head_of(path: Path) -> str:
    """Return the beginning of a text file (64 KiB), leaving out what is in another encoding. Raises OSError."""
    with path.open("rb") as file:
        content = file.read(HEAD)
    return content.decode(_encoding(content) if content else "utf-8", errors="ignore")


def _may_be_list(head: str) -> bool:
    return bool(IMAGE_NAME.search(head)) and any(word in head.lower() for word in KEYS["image"])


def _words(entries: list[Entry]) -> frozenset[str]:
    found: set[str] = set()
    for entry in entries:
        image, cls = value_of(entry.values, "image")[1], value_of(entry.values, "class")[1]
        found.update(image.replace("\\", "/").split("/")[:-1] if isinstance(image, str) else ())
        found.update(name for name in (cls, entry.cls) if isinstance(name, str) and name)
    return frozenset(found)


def _words_of_text(text: str) -> frozenset[str]:
    paths = [part for path in IMAGE_NAME.findall(text) for part in re.split(r"[/\\]+", path)[:-1]]
    named = re.findall(r"[\"'](?:" + "|".join(KEYS["class"]) + r")[\"']\s*:\s*[\"']([^\"']*)", text)
    return frozenset((*paths, *named))


def _parsed(text: str, path: Path) -> tuple[str, list[Entry]]:
    """Return the form of a text (``other`` if it is no list) and its records. Raises UserError with the line."""
    text = _without_remarks(text.replace("\r\n", "\n").replace("\r", "\n"))
    if text.lstrip()[:1] in ("{", "["):
        return parsed_json(text, path)
    known = other_content(text[:64].encode())
    if known:
        raise UserError(f"{path}: {known}")
    if path.suffix.lower().startswith(".json"):
        first = next((line for line in text.split("\n") if line.strip()), "")
        number = text[: text.find(first)].count("\n") + 1
        raise UserError(f"{path}: line {number}: broken JSON; expected {{ or [, found {first.strip()[:40]!r}")
    return parsed_table(text, path)


def _without_remarks(text: str) -> str:
    """Return a text whose first lines are blank if they are remarks (``#``, ``//``) or Excel's ``sep=;``."""
    lines = text.split("\n")
    for i, line in enumerate(lines):
        if line.strip() and not re.match(r"\s*(?:#|//|sep=.$)", line, re.IGNORECASE):
            break
        lines[i] = ""
    return "\n".join(lines)
