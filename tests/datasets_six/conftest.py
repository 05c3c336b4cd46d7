from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest

from diadbench.datasets.checking.check import check
from diadbench.datasets.samples import make_sample

#: Classes of a sample that is damaged; two, so that others stay whole.
CLASSES = {
    "mvtec": ["bottle", "cable"],
    "visa": ["pcb1", "candle"],
    "realiad": ["audiojack", "vcpill"],
    "unimedical": ["brain"],
}


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's cache, config file or data root."""
    monkeypatch.setenv("DIADBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("DIADBENCH_DATA", raising=False)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Samples before they are damaged, each made and checked once."""

    @functools.cache
    def make(name: str, layout: str) -> Path:
        root = tmp_path_factory.mktemp("whole") / "data"
        classes = CLASSES.get(name, ["bagel"] if name == "mvtec3d" else None)
        make_sample(name, root, layout=layout, classes=classes, train=2, good=2, bad=3, size=24)
        assert check(name, root, size=24).ok
        return root

    return make
