"""Results of a method don't change without its version: the version is part of a cell's identity."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from diadbench.common.errors import Skip

_PLACE = Path(__file__).parents[1] / "helpers" / "method_figures.py"
_SPEC = importlib.util.spec_from_file_location("method_figures", _PLACE)
assert _SPEC is not None
assert _SPEC.loader is not None
method_figures = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(method_figures)

AGAIN = "python tests/helpers/method_figures.py"


@pytest.mark.parametrize("name", method_figures.NAMES)
def test_results_change_only_with_the_version(name: str) -> None:
    known = method_figures.stored()
    assert name in known, f"no stored figures; write them: {AGAIN} {name}"
    try:
        found = method_figures.measure(name)
    except Skip as reason:
        pytest.skip(str(reason))
    assert found["version"] == known[name]["version"], f"another version than the stored figures': {AGAIN} {name}"
    if found["packages"] != known[name]["packages"]:
        pytest.skip(f"stored with {known[name]['packages']}, here is {found['packages']}")
    moved = method_figures.differs(name, known[name]["figures"], found["figures"])
    assert not moved, (
        f"its results moved by {moved:.2g}: raise MethodInfo.version of {name} (the bridge's VERSION for anomalib), "
        f"then {AGAIN} {name}"
    )


def test_other_figures_are_seen_and_not_written_under_the_same_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diadbench.methods.simple.trivial import MeanImage

    path = tmp_path / "figures.json"
    before = method_figures.PATH.read_bytes()
    path.write_bytes(before)
    monkeypatch.setattr(method_figures, "PATH", path)
    predict = MeanImage.predict

    def changed(self: MeanImage, images: object) -> object:
        found = predict(self, images)  # type: ignore[arg-type]
        return type(found)(found.anomaly_map * 1.001, found.score)

    monkeypatch.setattr(MeanImage, "predict", changed)
    with pytest.raises(SystemExit, match=r"mean-image: its figures changed, its version is still \d+"):
        method_figures.main(["mean-image"])
    assert path.read_bytes() == before
