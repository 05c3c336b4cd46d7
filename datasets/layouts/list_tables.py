"""Parse lists that are tables with a header (comma, semicolon, tab or bar), and tell tables from other texts."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

from diadbench.common.errors import UserError
from diadbench.common.wording import counted, some
from diadbench.datasets.decoding.images import SUFFIXES
from diadbench.datasets.layouts.list_records import KEYS, USUAL_NAMES, Entry, split_of_name

_WORDS = frozenset(key for keys in KEYS.values() for key in keys)
#: Bytes of a file that are looked at to see whether it may be a list.
HEAD = 65_536
#: The name of an image in a text.
IMAGE_NAME = re.compile(
    r"[^\s\"',;{}\[\]:|]+\.(?:" + "|".join(suffix[1:] for suffix in SUFFIXES) + r")\b", re.IGNORECASE
)
_KEY = re.compile(r"[\"'](" + "|".join((*KEYS["image"], *KEYS["label"])) + r")[\"']\s*:")
#: An object of JSON with paths of images below a split, ``{"train": ["000.png", ...`` or ``{"train": {"bottle": [...``.
_SPLIT_OF_PATHS = re.compile(
    r"[\"'](?:train|test)[\"']\s*:\s*(?:\{\s*[\"'][^\"']*[\"']\s*:\s*)?\[\s*[\"'][^\"'\n]*\.(?:"
    + "|".join(suffix[1:] for suffix in SUFFIXES)
    + r")[\"']",
    re.IGNORECASE,
)


def looks_like_list(text: str, path: Path) -> bool:
    """Whether an unreadable text names images under the keys of a list."""
    if any(_is_header(_first_fields(text, one)) for one in _DELIMITERS):
        return True
    if text.lstrip()[:1] not in ("{", "[") and _names_images(text, path):
        return True
    if _SPLIT_OF_PATHS.search(text):
        return True
    keys = set(_KEY.findall(text[:HEAD]))
    return bool(IMAGE_NAME.search(text)) and bool(keys & {*KEYS["image"]}) and bool(keys & {*KEYS["label"]})


def parsed_table(text: str, path: Path) -> tuple[str, list[Entry]]:
    """Return ``csv`` and the rows of a table, or ``other`` and nothing. Raises UserError with the line."""
    delimiter = max(_DELIMITERS, key=lambda one: len(_WORDS.intersection(_first_fields(text, one))))
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise UserError(f"{path}: not a CSV file (line {reader.line_num}: {error}); get it again") from error
    header = [_key_of(name) for name in rows[0][1]] if rows else []
    if not _is_header(header):
        if path.name.lower() in USUAL_NAMES or _names_images(text, path):
            raise UserError(
                f"{path}: header {some(header, sep=',', room=80)}; {_EXPECTED}: add the header, or remove the list"
            )
        return "other", []
    for what in ("image", "class", "split", "label"):
        if not any(key in header for key in KEYS[what]) and (what != "split" or not split_of_name(path)):
            raise UserError(f"{path}: header {some(header, sep=',', room=80)}: no column for the {what}; {_EXPECTED}")
    twice = [name for name in header if name and header.count(name) > 1]
    if twice:
        raise UserError(f"{path}: header {some(header, sep=',', room=80)}: column {twice[0]} stands twice; keep one")
    return "csv", [_row(number, header, row, path) for number, row in rows[1:]]


_EXPECTED = "expected object,split,label,image,mask or path,class,split,label,mask"
_DELIMITERS = ",;\t|"


def _first_fields(text: str, delimiter: str) -> list[str]:
    first = text.strip().split("\n", 1)[0]
    return [_key_of(word.strip().strip('"')) for word in first.split(delimiter)]


def _key_of(name: str) -> str:
    """Return a column's name as keys of lists are written: ``image_path`` for ``Image Path``."""
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def _is_header(header: list[str]) -> bool:
    return len(set(header) & _WORDS) >= 2 and any(key in header for key in KEYS["image"])


def _names_images(text: str, path: Path) -> bool:
    """Whether a file named like a list of a split has an image in most of its lines: a list without a header."""
    lines = [line for line in text.splitlines() if line.strip()]
    return bool(split_of_name(path)) and 2 * sum(bool(IMAGE_NAME.match(line)) for line in lines) > len(lines)


def _row(number: int, header: list[str], row: list[str], path: Path) -> Entry:
    if len(row) > len(header):
        raise UserError(f"{path}: line {number}: {counted(len(row), 'field')}; expected {len(header)} as in the header")
    optional = (*KEYS["mask"], *KEYS["defect"])
    missing = [name for name in header[len(row) :] if name not in optional]
    if missing:
        raise UserError(f"{path}: line {number}: {counted(len(row), 'field')}; expected {len(header)} as in the header")
    image, mask = (next((key for key in KEYS[what] if key in header), "") for what in ("image", "mask"))
    values = {name: cell if name in (image, mask) else cell.strip() for name, cell in zip(header, row)}
    return Entry(f"line {number}", values)
