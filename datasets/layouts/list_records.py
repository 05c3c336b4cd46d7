"""The records of a list of samples, :class:`Entry` objects, and how JSON is parsed into them. The forms of lists:

- ``meta``: one JSON object ``{"train": {class: [record]}, "test": {...}}`` (ADer), or ``{"train": [record], ...}``.
- ``lines``: JSON records, one a line (DiAD, UniAD), or one array of them; dicts with single quotes are read too.
- ``csv``: a table with a header (VisA's ``1cls.csv``), see :mod:`diadbench.datasets.layouts.list_tables`.
"""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diadbench.common.errors import UserError

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
_LOOKED_AT = 20


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


def value_of(values: dict[str, Any], what: str) -> tuple[str, Any]:
    """Return the key and the value of a record for one of :data:`KEYS`; ``("", None)`` if it has none."""
    for key in KEYS[what]:
        if key in values:
            return key, values[key]
    return "", None


# -- JSON -----------------------------------------------------------------------------------------------------------


def parsed_json(text: str, path: Path) -> tuple[str, list[Entry]]:
    """Return the form of JSON or of JSON lines, and their records. Raises UserError with the line."""
    try:
        content = json.loads(text, object_pairs_hook=no_key_twice)
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


def no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of JSON. Raises ValueError for a repeated key."""
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
            record = json.loads(stripped, object_pairs_hook=no_key_twice)
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
