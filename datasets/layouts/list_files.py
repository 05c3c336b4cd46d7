"""Read one file that may be a list of samples in any encoding and form, by its content rather than its name.

The usual forms, each read into :class:`Entry` objects:

- ``meta``: one JSON object ``{"train": {class: [record]}, "test": {...}}`` (ADer), or ``{"train": [record], ...}``.
- ``lines``: JSON records, one a line (DiAD, UniAD), or one array of them; dicts with single quotes are read too.
- ``csv``: a table with a header (VisA's ``1cls.csv``); comma, semicolon or tab.

A file that looks like a list but can't be read keeps its error, which is raised for every caller that asks for the
list, so that the file isn't mistaken for something else.
"""

from __future__ import annotations

import ast
import csv
import functools
import io
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diadbench.common.errors import UserError
from diadbench.datasets.decoding.images import SUFFIXES

#: Suffixes of files that may be lists.
LIST_SUFFIXES = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".txt")
#: Usual names of lists. A broken file of such a name is refused, never ignored.
USUAL_NAMES = ("meta.json", "train.json", "test.json", "train.jsonl", "test.jsonl", "visa.csv", "1cls.csv")
#: Keys (in lower case) of each value of a record in published lists; the first existing one is used.
KEYS: dict[str, tuple[str, ...]] = {
    "image": ("filename", "img_path", "image_path", "image", "path", "file_name", "filepath", "file"),
    "mask": ("maskname", "mask_path", "mask", "mask_name", "mask_file"),
    "class": ("clsname", "cls_name", "class", "object", "category", "class_name"),
    "split": ("split", "set", "subset"),
    "label": ("label", "anomaly", "label_index"),
    "label_name": ("label_name",),
    "defect": ("specie_name", "defect", "defect_type"),
}
_WORDS = frozenset(key for keys in KEYS.values() for key in keys)
_HEAD = 65_536
_LOOKED_AT = 20
_IMAGE = re.compile(r"[^\s\"',;{}\[\]:|]+\.(?:" + "|".join(suffix[1:] for suffix in SUFFIXES) + r")\b", re.IGNORECASE)
_KEY = re.compile(r"[\"'](" + "|".join((*KEYS["image"], *KEYS["label"])) + r")[\"']\s*:")


@dataclass(frozen=True)
class Entry:
    """One record of a list.

    Attributes:
        place: Its place in the file: ``line 3``, ``train.bottle[0]``.
        values: Its values by key, as in the file.
        split: Split under which it is listed (``meta``), else ``""``.
        cls: Class under which it is listed (``meta``), else ``""``.
    """

    place: str
    values: dict[str, Any]
    split: str = ""
    cls: str = ""


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


def value_of(values: dict[str, Any], what: str) -> tuple[str, Any]:
    """Return the key and the value of a record for one of :data:`KEYS`; ``("", None)`` if it has none."""
    for key in KEYS[what]:
        if key in values:
            return key, values[key]
    return "", None


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
        return json.loads(text, object_pairs_hook=_no_key_twice)
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
    try:
        if not usual and size > _HEAD and not _may_be_list(_head(path)):
            return ListFile(path, "other")
        text = read_text(path)
    except UserError as error:
        return ListFile(path, "broken" if usual else "other", error=str(error))
    try:
        form, entries = _parsed(text, path)
    except UserError as error:
        form = "broken" if usual or looks_like_list(text, path) else "other"
        return ListFile(path, form, error=str(error), words=_words_of_text(text))
    return ListFile(path, form, tuple(entries), words=_words(entries))


def _head(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(_HEAD)
    return content.decode(_encoding(content) if content else "utf-8", errors="ignore")


def _may_be_list(head: str) -> bool:
    return bool(_IMAGE.search(head)) and any(word in head.lower() for word in KEYS["image"])


def looks_like_list(text: str, path: Path) -> bool:
    """Whether an unreadable text names images under the keys of a list."""
    if any(_is_header(_first_fields(text, one)) for one in _DELIMITERS):
        return True
    if text.lstrip()[:1] not in ("{", "[") and _names_images(text, path):
        return True
    keys = set(_KEY.findall(text[:_HEAD]))
    return bool(_IMAGE.search(text)) and bool(keys & {*KEYS["image"]}) and bool(keys & {*KEYS["label"]})


def _words(entries: list[Entry]) -> frozenset[str]:
    found: set[str] = set()
    for entry in entries:
        image, cls = value_of(entry.values, "image")[1], value_of(entry.values, "class")[1]
        found.update(image.replace("\\", "/").split("/")[:-1] if isinstance(image, str) else ())
        found.update(name for name in (cls, entry.cls) if isinstance(name, str) and name)
    return frozenset(found)


def _words_of_text(text: str) -> frozenset[str]:
    paths = [part for path in _IMAGE.findall(text) for part in re.split(r"[/\\]+", path)[:-1]]
    named = re.findall(r"[\"'](?:" + "|".join(KEYS["class"]) + r")[\"']\s*:\s*[\"']([^\"']*)", text)
    return frozenset((*paths, *named))


def _parsed(text: str, path: Path) -> tuple[str, list[Entry]]:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text.lstrip()[:1] in ("{", "["):
        return _parsed_json(text, path)
    return _parsed_csv(text, path)


# -- JSON ---------------------------------------------------------------------------------------------------------


def _parsed_json(text: str, path: Path) -> tuple[str, list[Entry]]:
    try:
        content = json.loads(text, object_pairs_hook=_no_key_twice)
    except (ValueError, RecursionError) as error:
        if _is_document(text):
            content = _literal(text) if isinstance(error, json.JSONDecodeError) else None
            if content is None:
                raise UserError(f"{path}: broken JSON ({error}); get the file again, or mend the line") from error
        else:
            entries = list(_sequence(text, path))
            if len(entries) > 1:
                return _form_of(entries, path), entries
            content = entries[0].values
    if isinstance(content, dict):
        return _of_object(content, path)
    return _of_array(text, content, path)


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key {next(key for key in keys if keys.count(key) > 1)!r} stands twice in one object")
    return made


def _is_document(text: str) -> bool:
    """Whether a text that is not JSON was meant as one document rather than one record per line."""
    first = text.lstrip().split("\n", 1)[0].rstrip().rstrip(",")
    return not (first.startswith("{") and first.endswith("}"))


def _literal(text: str) -> Any:
    """Read a list or dict printed by Python (single quotes); ``None`` if it isn't one."""
    try:
        found = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    return found if isinstance(found, (dict, list)) else None


def _sequence(text: str, path: Path) -> Iterator[Entry]:
    """Yield the records of lines; blank lines and a comma at the end of a line are ignored."""
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip().rstrip(",").strip()
        if not stripped:
            continue
        try:
            record = json.loads(stripped, object_pairs_hook=_no_key_twice)
        except (ValueError, RecursionError) as error:
            record = _literal(stripped) if isinstance(error, json.JSONDecodeError) else None
            if record is None:
                raise UserError(
                    f"{path}: line {number}: broken JSON ({_reason(error)}); expected one object a line: mend the "
                    "line, or get the file again"
                ) from error
        if not isinstance(record, dict):
            raise UserError(f"{path}: line {number}: expected an object, found {stripped[:40]}")
        yield Entry(f"line {number}", record)


def _reason(error: Exception) -> str:
    """Describe the fault of a line, without its number, which the caller adds."""
    return f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)


def _of_object(content: dict[str, Any], path: Path) -> tuple[str, list[Entry]]:
    if _is_record(content):
        return "lines", [Entry("line 1", content)]  # a list of one
    if isinstance(content.get("meta"), dict):
        return "other", []  # Real-IAD's lists have their own reader.
    splits = {key: key.lower() for key in content if key.lower() in _SPLITS and isinstance(content[key], (dict, list))}
    if splits:
        return "meta", [one for key, split in splits.items() for one in _of_split(content[key], split, path)]
    groups = {key: records for key, records in content.items() if isinstance(records, list) and _has_records(records)}
    if groups and not _OTHER_TOOLS & set(content):  # {class: [record]} or {"data": [record]}, one file per split
        entries = [one for key, records in groups.items() for one in _of_split({key: records}, "", path)]
        return "lines", [Entry(one.place, one.values) for one in entries]
    if path.name.lower() == "meta.json" and {"train", "test"} & set(content):
        raise UserError(f"{path}: expected top keys train and test with records below, found {_shape(content)}")
    return "other", []


_SPLITS = ("train", "test", "validation")
#: Keys of JSON files that name images but are not lists of samples: COCO's annotations.
_OTHER_TOOLS = frozenset(("annotations", "categories"))


def _is_record(value: Any) -> bool:
    return isinstance(value, dict) and all(value_of(value, what)[0] for what in ("image", "label"))


def _has_records(records: list[Any]) -> bool:
    return any(_is_record(record) for record in records[:3])


def _of_split(group: dict[str, Any] | list[Any], split: str, path: Path) -> Iterator[Entry]:
    classes = group if isinstance(group, dict) else {"": group}
    for name, records in classes.items():
        place = ".".join(part for part in (split, str(name)) if part)
        if not isinstance(records, list):
            raise UserError(f"{path}: {place}: expected a list of records, found {type(records).__name__}")
        for i, record in enumerate(records):
            if not isinstance(record, dict):
                raise UserError(f"{path}: {place}[{i}]: expected an object, found {str(record)[:40]!r}")
            yield Entry(f"{place}[{i}]", record, split, str(name))


def _shape(content: Any) -> str:
    return f"keys {', '.join(map(str, content))}" if isinstance(content, dict) else f"a {type(content).__name__}"


def _of_array(text: str, content: Any, path: Path) -> tuple[str, list[Entry]]:
    records = content if isinstance(content, list) else []
    if not records:
        if path.name.lower() == "meta.json":
            raise UserError(f"{path}: expected top keys train and test with records below, found {text.strip()[:40]}")
        raise UserError(f"{path}: the list holds no samples; get it again, or remove it")
    lines = _array_lines(text, len(records))
    for line, record in zip(lines, records):
        if not isinstance(record, dict):
            if any(isinstance(one, dict) for one in records) or path.name.lower() in USUAL_NAMES:
                raise UserError(f"{path}: {line}: expected an object, found {str(record)[:40]!r}")
            return "other", []
    entries = [Entry(line, record) for line, record in zip(lines, records)]
    return _form_of(entries, path), entries


def _form_of(entries: list[Entry], path: Path) -> str:
    """Distinguish records of samples from others (a log, a configuration); a usual name always means a list."""
    some = [entry.values for entry in entries[:_LOOKED_AT]]
    wanted = ("image",) if split_of_name(path) else ("image", "label")
    known = any(all(value_of(values, what)[0] for what in wanted) for values in some)
    return "lines" if known or path.name.lower() in USUAL_NAMES else "other"


def _array_lines(text: str, count: int) -> list[str]:
    """Return the place of each item of a JSON array: its line, or its number if the text isn't JSON."""
    decoder, position, places, line, counted = json.JSONDecoder(), text.find("[") + 1, [], 1, 0
    try:
        for _ in range(count):
            while text[position] in " \t\r\n,":
                position += 1
            line, counted = line + text.count("\n", counted, position), position
            places.append(f"line {line}")
            _, position = decoder.raw_decode(text, position)
    except (ValueError, IndexError):
        return [f"record {i + 1}" for i in range(count)]
    return places


# -- tables -------------------------------------------------------------------------------------------------------


def _parsed_csv(text: str, path: Path) -> tuple[str, list[Entry]]:
    delimiter = max(_DELIMITERS, key=lambda one: len(_WORDS.intersection(_first_fields(text, one))))
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise UserError(f"{path}: not a CSV file (line {reader.line_num}: {error}); get it again") from error
    header = [name.strip().lower() for name in rows[0][1]] if rows else []
    if not _is_header(header):
        if path.name.lower() in USUAL_NAMES or _names_images(text, path):
            raise UserError(f"{path}: header {','.join(header)[:80]}; {_EXPECTED}: add the header, or remove the list")
        return "other", []
    for what in ("image", "class", "split", "label"):
        if not any(key in header for key in KEYS[what]) and (what != "split" or not split_of_name(path)):
            raise UserError(f"{path}: header {','.join(header)[:80]}: no column for the {what}; {_EXPECTED}")
    twice = [name for name in header if name and header.count(name) > 1]
    if twice:
        raise UserError(f"{path}: header {','.join(header)[:80]}: column {twice[0]} stands twice; keep one")
    return "csv", [_row(number, header, row, path) for number, row in rows[1:]]


_EXPECTED = "expected object,split,label,image,mask or path,class,split,label,mask"
_DELIMITERS = ",;\t|"


def _first_fields(text: str, delimiter: str) -> list[str]:
    first = text.strip().split("\n", 1)[0]
    return [word.strip().strip('"').lower() for word in first.split(delimiter)]


def _is_header(header: list[str]) -> bool:
    return len(set(header) & _WORDS) >= 2 and any(key in header for key in KEYS["image"])


def _names_images(text: str, path: Path) -> bool:
    """Whether a file named like a list of a split has an image in most of its lines: a list without a header."""
    lines = [line for line in text.splitlines() if line.strip()]
    return bool(split_of_name(path)) and 2 * sum(bool(_IMAGE.match(line)) for line in lines) > len(lines)


def _row(number: int, header: list[str], row: list[str], path: Path) -> Entry:
    if len(row) > len(header):
        raise UserError(f"{path}: line {number}: {len(row)} fields; expected {len(header)} as in the header")
    optional = (*KEYS["mask"], *KEYS["defect"])
    missing = [name for name in header[len(row) :] if name not in optional]
    if missing:
        raise UserError(f"{path}: line {number}: {len(row)} fields; expected {len(header)} as in the header")
    image, mask = (next((key for key in KEYS[what] if key in header), "") for what in ("image", "mask"))
    values = {name: cell if name in (image, mask) else cell.strip() for name, cell in zip(header, row)}
    return Entry(f"line {number}", values)


def split_of_name(path: Path) -> str:
    """Return the split that a list's name states (``train.json``, ``mvtec3d_test.jsonl``), or ``""``."""
    return _split_and_rest(path)[0]


def rest_of_name(path: Path) -> str:
    """Return a list's stem without its split, which is the same for the two files of a pair."""
    return _split_and_rest(path)[1]


def _split_and_rest(path: Path) -> tuple[str, str]:
    stem = os.path.splitext(path.name)[0].lower()
    for word, split in (("training", "train"), ("train", "train"), ("testing", "test"), ("test", "test")):
        found = re.search(rf"(?:^|(?<=[^a-z])){word}(?:$|(?=[^a-z]))", stem)
        if found:
            return split, stem[: found.start()] + stem[found.end() :]
    return "", stem
