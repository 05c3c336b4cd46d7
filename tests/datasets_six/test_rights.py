"""Folders and files that the user may not read or enter: one line that names them, never a traceback or silence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers.unreadable import bound, needs_bound

#: Reads and checks each ``[name, root]``, and prints for each what a run refuses and whether the check is well.
PROGRAM = r"""
import json, sys
from diadbench.common.errors import UserError
from diadbench.datasets import get
from diadbench.datasets.checking.check import check, refuse
said = []
for name, root in json.loads(sys.argv[1]):
    report = check(name, root, size=16, workers=1)
    try:
        dataset = get(name, root)
        refuse(dataset)
        said.append(["\n".join(one.line() for one in report.of("error")), report.ok, list(dataset.flags)])
    except UserError as error:
        said.append([str(error), report.ok, []])
print(json.dumps(said))
"""
#: Set, folder or file, its mode: 0 is not readable; 0o444 is a folder that can be listed and not entered.
CLOSED = [
    ("mvtec", "cable", 0o444),
    ("mvtec", "cable", 0),
    ("mvtec", "bottle/train/good/000.png", 0),
    ("visa", "candle/Data", 0),
    ("realiad", "realiad_jsons", 0),
    ("mvtec3d", "bagel/train/good/xyz", 0),
    ("coco_ad", "annotations", 0),
]


@pytest.fixture
def opened() -> Iterator[list[Path]]:
    """Paths whose rights are given back, so that the temporary folder can be removed."""
    paths: list[Path] = []
    yield paths
    for path in paths:
        path.chmod(0o755)


def told(cases: list[tuple[str, Path]]) -> list[tuple[str, bool, list[str]]]:
    done = bound(PROGRAM, json.dumps([(name, str(root)) for name, root in cases]))
    assert done.returncode == 0, done.stderr
    return [(error, ok, flags) for error, ok, flags in json.loads(done.stdout.splitlines()[-1])]


@needs_bound
def test_what_may_not_be_read_is_one_line(
    whole: Callable[[str, str], Path], tmp_path: Path, opened: list[Path]
) -> None:
    cases = []
    for i, (name, closed, mode) in enumerate(CLOSED):
        shutil.copytree(whole(name, "owner"), tmp_path / str(i))
        opened.append(tmp_path / str(i) / closed)
        opened[-1].chmod(mode)
        cases.append((name, tmp_path / str(i)))
    for (name, closed, _), (error, ok, _) in zip(CLOSED, told(cases), strict=True):
        assert closed in error, (name, error)
        assert "(Permission denied)" in error
        assert not ok


@needs_bound
def test_what_may_not_be_listed_and_is_not_needed_is_told_or_left(
    whole: Callable[[str, str], Path], tmp_path: Path, opened: list[Path]
) -> None:
    for place, closed in (("up", "up"), ("list", "list/data/split.csv"), ("beside", "beside/data/old/deep")):
        shutil.copytree(whole("mvtec", "owner"), tmp_path / place / "data")
        if place != "up":
            (tmp_path / closed).parent.mkdir(exist_ok=True)
            (tmp_path / closed).mkdir() if place == "beside" else (tmp_path / closed).write_text("path,label\n")
        opened.append(tmp_path / closed)
        opened[-1].chmod(0o111 if place == "up" else 0)
    up, listed, beside = told([("mvtec", tmp_path / place / "data") for place in ("up", "list", "beside")])
    assert (up[0], up[1]) == ("", True)  # Nothing of the data lies there.
    assert "split.csv can't be read (Permission denied): it may be a list" in listed[2]
    assert any("old/deep can't be listed (Permission denied), and was not read" in line for line in beside[2])
