"""An error is one line, whatever the names and the other libraries' messages in it hold."""

from __future__ import annotations

import copy
import os
import pickle
from pathlib import Path

import pytest

from diadbench.common.errors import Missing, Several, Skip, UserError
from diadbench.datasets.checking.check import check
from tests.datasets.test_bit_depth import batch, deep, png, write_set


def test_no_byte_and_no_control_character_reaches_a_terminal() -> None:
    error = UserError(f"a\x1b[31m {os.fsdecode(bytes([0xD5]))} \ud83d é 瓶\u200b")
    assert str(error) == "a\\x1b[31m \\xd5 \\ud83d é 瓶\u200b"


@pytest.mark.parametrize("kind", [UserError, Skip, Missing])
def test_an_error_is_one_line(kind: type[UserError]) -> None:
    error = kind("a\nb.png: Error(s) in loading:\r\n\t  size mismatch\rnext")
    assert str(error) == r"a\nb.png: Error(s) in loading: size mismatch\rnext"
    assert str(pickle.loads(pickle.dumps(error))) == str(copy.copy(error)) == str(error)


def test_several_errors_take_a_line_each() -> None:
    error = Several.of("2 things:", [UserError("a\nb"), "c\nd"])
    assert str(error).splitlines() == ["2 things:", r"  a\nb", r"  c\nd"]
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_a_line_break_in_a_file_name(tmp_path: Path) -> None:
    root = write_set(tmp_path / "data", [png(deep(10))] * 4)
    place = next(root.rglob("*.png"))
    place.rename(place.with_name("new\nline.png")).write_bytes(b"")
    found = check("folder", root, size=24, masks=False)
    with pytest.raises(UserError, match=r"new\\nline\.png: the file is empty") as error:
        batch(root)
    assert len(str(error.value).splitlines()) == 1
    assert any(r"new\nline.png" in one.line() for one in found.findings if one.severity == "error")
