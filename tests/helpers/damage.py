"""Damage to a small sample of a set, and what is then said: cases are data of the tests of damage."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from diadbench.common.errors import UserError
from diadbench.datasets import get
from diadbench.datasets.checking.check import check


class Case(NamedTuple):
    """``where``: ``index`` (no table is made), ``files`` (found when files are opened), ``handled`` (no error)."""

    about: str
    name: str
    layout: str
    where: str
    says: str
    damage: Callable[[Path], Any]


def edit_json(path: Path, change: Callable[[Any], Any]) -> None:
    content = json.loads(path.read_text())
    content = change(content) or content
    path.write_text(json.dumps(content))


def edit_text(path: Path, old: str, new: str) -> None:
    text = path.read_bytes().decode()
    assert old in text
    path.write_bytes(text.replace(old, new, 1).encode())


def told(case: Case, whole: Path, root: Path) -> None:
    """Damage a copy of ``whole`` at ``root``, read and check it, and compare with what the case says."""
    shutil.copytree(whole, root)
    case.damage(root)
    if case.where == "index":
        with pytest.raises(UserError) as caught:
            _ = get(case.name, root).samples
        assert "\n" not in str(caught.value)
    else:
        _ = get(case.name, root).samples
    report = check(case.name, root, size=24)
    assert report.ok == (case.where == "handled")
    assert report.exit_code() == int(not report.ok)
    if case.says:
        findings = [one for one in report.findings if one.severity != "note"]
        lines = [one.line() for one in findings]
        assert any(re.search(case.says, line) for line in lines), lines
        assert not any("\n" in line for line in lines)
    json.dumps(report.to_json())
    assert report.text()
