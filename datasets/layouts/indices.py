"""Lists of samples as the field writes them: ADer's ``meta.json``, the JSON lines of DiAD and UniAD.

``meta.json``: ``{"train": {class: [record]}, "test": {...}}`` with records ``img_path, mask_path, cls_name,
specie_name, anomaly``. JSON lines: one object a line with ``filename, label, label_name, clsname`` and, for defects,
``maskname``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from diadbench.common.errors import UserError

META = "meta.json"
_META_KEYS = ("img_path", "mask_path", "cls_name", "anomaly")
_LINE_KEYS = ("filename", "label", "clsname")
_COLUMNS = ["image", "mask", "class", "split", "label", "defect"]


def load_json(path: Path) -> Any:
    """Read a JSON file. Raises UserError when it is missing or broken, with the line."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise UserError(f"{path}: file not found") from error
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: broken JSON ({error}); get the file again") from error


def read_meta(path: Path, base: str = "", *, train: Sequence[str] = ("train",)) -> pd.DataFrame:
    """Read ADer's ``meta.json``.

    Args:
        path: The file.
        base: Prefix of all paths, relative to the dataset's root.
        train: Top keys whose samples are training samples (``("train", "validation")``).

    Returns:
        Rows of the sample table. Paths are normalised: ADer's generator writes ``good//000.png``.

    Raises:
        UserError: Broken JSON, a missing key, a label that is not 0 or 1, a mask of another image.
    """
    meta = load_json(path)
    _expect(isinstance(meta, dict) and "train" in meta and "test" in meta, f"{path}: expected top keys train and test")
    rows: list[tuple[Any, ...]] = []
    for split in dict.fromkeys((*train, "test")):
        if split not in meta:
            raise UserError(f"{path}: no key {split!r}; found {', '.join(map(str, meta))}")
        _expect(isinstance(meta[split], dict), f"{path}: {split}: expected classes, each with a list of records")
        for name, records in meta[split].items():
            _expect(isinstance(records, list), f"{path}: {split}.{name}: expected a list of records")
            for i, record in enumerate(records):
                place = f"{path}: {split}.{name}[{i}]"
                _has_keys(record, _META_KEYS, place)
                target = "test" if split == "test" else "train"
                defect = record.get("specie_name") or None
                rows.append(
                    (record["img_path"], record["mask_path"], record["cls_name"], target, record["anomaly"], defect)
                )
    return _table(rows, base, str(path))


def read_lines(train: Path, test: Path, base: str = "") -> pd.DataFrame:
    """Read a pair of JSON-lines lists (DiAD, UniAD). See :func:`read_meta` for ``base``, result and errors."""
    rows: list[tuple[Any, ...]] = []
    for path, split in ((train, "train"), (test, "test")):
        for number, record in json_lines(path):
            _has_keys(record, _LINE_KEYS, f"{path}: line {number}")
            defect = record["filename"].replace("\\", "/").split("/")
            # <class>/test/<defect>/000.png, or <class>/test/<defect>/rgb/000.png
            kind = defect[2] if len(defect) >= 4 and defect[1] in ("train", "test") else None
            rows.append(
                (record["filename"], record.get("maskname") or "", record["clsname"], split, record["label"], kind)
            )
    return _table(rows, base, str(test))


def json_lines(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """Return the numbered objects of a JSON-lines file; blank lines are passed over. Raises UserError."""
    found = []
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: can't be read ({error})") from error
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise UserError(f"{path}: line {number}: broken JSON ({error}); get the file again") from error
            _expect(isinstance(record, dict), f"{path}: line {number}: expected an object, found {line.strip()[:40]}")
            found.append((number, record))
    return found


def is_json_lines(path: Path) -> bool:
    """Whether a file is there and its first line is a record of a JSON-lines list."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            first = file.readline(100_000).strip()
    except (OSError, UnicodeDecodeError):
        return False
    return first.startswith("{") and '"filename"' in first


def table_of(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    """Return rows ``(image, mask, class, split, label, defect)`` as a table."""
    return pd.DataFrame(rows, columns=_COLUMNS)


def _table(rows: list[tuple[Any, ...]], base: str, where: str) -> pd.DataFrame:
    _expect(bool(rows), f"{where}: the list holds no samples")
    table = table_of(rows)
    for name in ("image", "mask"):
        table[name] = below(_strings(table[name], name, where), base)
    _strings(table["class"], "class", where)
    labels = table["label"].map(_label)
    if labels.isna().any():
        wrong = next((row["image"], row["label"]) for row in table[labels.isna()].head(1).to_dict("records"))
        raise UserError(f"{where}: {wrong[0]}: label {wrong[1]!r}; expected 0 or 1")
    table["label"] = labels.astype("int8")
    table.loc[table["label"] == 0, "defect"] = "good"
    if table["mask"].where(table["label"] == 0, "").ne("").any():  # MVTec-3D has all-zero masks for normal images
        table.loc[table["label"] == 0, "mask"] = ""
    _check_pairs(table, where)
    return table


def below(paths: pd.Series[str], base: str) -> pd.Series[str]:
    """Normalise relative paths (``a//b``, ``./a``, ``a\\b``) and put ``base`` before them; empty ones stay empty."""
    clean = paths.str.replace("\\", "/", regex=False).str.replace(r"(?<=[^/])/(?:\.?/)+", "/", regex=True)
    clean = clean.str.replace(r"^(?:\./+)+", "", regex=True)
    # an absolute path or one with .. stays as it is, to be refused with the text that stands in the file
    strange = clean.str.startswith("/") | clean.str.contains(r"(?:^|/)\.\.(?:/|$)|^[A-Za-z]:", regex=True)
    return clean.where((clean == "") | strange | (base == ""), f"{base}/" + clean)


def _label(value: Any) -> int | None:
    if isinstance(value, bool) or value in (0, 1):
        return int(value)
    return None


def _strings(column: pd.Series[Any], name: str, where: str) -> pd.Series[str]:
    filled = column.where(column.notna(), "")
    wrong = [value for value in filled if not isinstance(value, str)]
    if wrong:
        raise UserError(f"{where}: {name} {wrong[0]!r}; expected text")
    return filled.astype("str")


def _check_pairs(table: pd.DataFrame, where: str) -> None:
    """Refuse a mask of another image: such lists are made by sorting two folders, and one stray file shifts all."""
    masked = table[table["mask"] != ""]
    stem = masked["image"].str.extract(r"([^/]*?)(?:\.[^./]*)?$")[0]
    own = masked["mask"].str.extract(r"([^/]*?)(?:\.[^./]*)?$")[0]
    folder = masked["mask"].str.extract(r"([^/]*)/[^/]*$")[0]  # MVTec LOCO: a folder of masks for an image
    fits = (own == stem) | (own == stem + "_mask") | (folder == stem)
    if not fits.all():
        wrong = masked[~fits].iloc[0]
        raise UserError(
            f"{where}: {wrong['image']} is paired with {wrong['mask']}, the mask of another image "
            f"({int((~fits).sum())} such pairs); a stray file shifted the list when it was made: remove the list "
            "to index the folders instead"
        )


def _has_keys(record: Any, keys: Sequence[str], place: str) -> None:
    _expect(isinstance(record, dict), f"{place}: expected an object")
    missing = [key for key in keys if key not in record]
    if missing:
        raise UserError(f"{place}: no key {missing[0]!r}; expected {', '.join(keys)}, found {', '.join(record)}")


def _expect(condition: bool, text: str) -> None:
    if not condition:
        raise UserError(text)
