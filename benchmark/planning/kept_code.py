"""The code of a user's methods and datasets, copied into the run: ``RUN/code/<digest>/``, and used from there.

A cell that runs later, a prediction or an export, on this or another machine, then uses the code that the plan was made
with, even if the file has changed. ``RUN/code/index.json`` says which file was copied where.

A file that looks for others beside itself (``__file__``), or that has imports which only its execution can find, is
copied too. It is used in its original place while it exists there, because a copy wouldn't find the other files.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from diadbench.benchmark.planning.grids.paths import CODE_INDEX
from diadbench.benchmark.planning.planned import PlannedCell
from diadbench.common.code import MAIN, Code, code_of_file
from diadbench.common.files import atomic_directory, read_json, write_json


def with_kept_code(cells: list[PlannedCell], run: Path) -> list[PlannedCell]:
    """Copy the code of planned cells into the run; return the cells with the copies in their configurations.

    ``method_source`` and ``dataset_source`` say where the code was copied from.
    """
    names = {cell.config[kind] for cell in cells for kind in ("method", "dataset") if ".py:" in cell.config[kind]}
    top = Path(os.path.abspath(run))  # without "..", as the paths of a cell are compared with it
    copies = {name: text for name in sorted(names) if (text := _kept(name, top)) is not None}
    return [replace(cell, config=_replaced(cell.config, copies)) for cell in cells] if copies else cells


def _replaced(config: dict[str, Any], copies: Mapping[str, str]) -> dict[str, Any]:
    found = dict(config)
    for kind in ("method", "dataset"):
        if config[kind] in copies:
            found |= {kind: copies[config[kind]], f"{kind}_source": config[kind]}
    return found


def _kept(name: str, run: Path) -> str | None:
    """Copy the code of ``file.py:Class``; return that of the copy, or ``None`` if the copy isn't to be used."""
    text, _, attribute = name.rpartition(":")
    path = Path(text).expanduser().resolve()
    if path.is_relative_to(run.resolve() / "code") or not path.is_file():
        return None
    code = code_of_file(path)
    folder = run / "code" / _digest(code)
    if not folder.is_dir():
        with atomic_directory(folder) as temporary:
            for module, file in code.files.items():
                target = temporary / _place(module, file, path)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
    copied = f"{folder.relative_to(run).as_posix()}/{path.name}"
    index = read_json(run / CODE_INDEX) or {}
    if index.get(str(path)) != copied:
        write_json(run / CODE_INDEX, {**index, str(path): copied})
    return f"{run / copied}:{attribute}" if _may_move(code) else None


def _digest(code: Code) -> str:
    return hashlib.sha256(json.dumps(code.digests(), sort_keys=True).encode()).hexdigest()[:16]


def _place(module: str, file: Path, main: Path) -> str:
    """Return the place of a module among the copies, from which it is imported by the same name."""
    if module == MAIN:
        return main.name
    place = module.replace(".", "/")
    return f"{place}/__init__.py" if file.name == "__init__.py" else f"{place}{''.join(file.suffixes)}"


def _may_move(code: Code) -> bool:
    return not code.unresolved and not any(b"__file__" in file.read_bytes() for file in code.files.values())
