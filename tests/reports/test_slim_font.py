"""The subsets of the main font: made once for all processes, with nothing left in temporary directories."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import pytest
from fontTools.ttLib import TTFont

from diadbench.reports.figures import slim_font


def test_the_subset_is_made_once_in_matplotlibs_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mpl, "get_cachedir", lambda: str(tmp_path))
    made = {weight: slim_font.slim_font(weight) for weight in ("normal", "bold")}
    assert sorted(tmp_path.iterdir()) == sorted(made.values())
    for path in made.values():
        assert set(TTFont(path).getBestCmap()) <= set(slim_font.KEPT)
    monkeypatch.setattr(slim_font, "_write_subset", None)  # another process's file is taken
    assert {weight: slim_font.slim_font(weight) for weight in made} == made
    assert sorted(made) == sorted(made, key=lambda weight: made[weight].name), "a PDF sorts fonts by file"


def test_another_fonttools_makes_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mpl, "get_cachedir", lambda: str(tmp_path))
    first = slim_font.slim_font("bold")
    before = first.read_bytes()
    monkeypatch.setattr("fontTools.version", "0.0")
    second = slim_font.slim_font("bold")
    assert second != first
    assert second.read_bytes() == before == first.read_bytes(), "the same bytes on every day"
