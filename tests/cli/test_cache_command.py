"""``diadbench cache``: what lies there, what is freed, and that nothing is taken from a living process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from diadbench.cli import main
from diadbench.common.cache import clearing, inventory
from diadbench.common.cache.clearing import clear
from diadbench.common.cache.inventory import KINDS, entries
from diadbench.common.errors import UserError

#: Builds an array and keeps using it until its standard input ends; with ``build`` it stays in the build instead.
PROCESS = """
import sys
import numpy as np
from diadbench.common.cache.arrays import ArrayPlan, batches, build
from diadbench.common.files import cache_dir
def make(chosen):
    if sys.argv[2] == "build":
        print("ready", flush=True)
        sys.stdin.read()
    return np.ones((len(chosen), 1000), np.uint8)
place = cache_dir() / sys.argv[1] / (sys.argv[3] * 32)
array = build(ArrayPlan(place, 50, (1000,), "uint8", batches(make, 50), about=f"{sys.argv[1]} of bolt"))
if sys.argv[2] == "hold":
    print("ready", flush=True)
    sys.stdin.read()
print("sum", int(array.gather(range(50)).sum()), flush=True)
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIADBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def start(kind: str, how: str, key: str = "a") -> subprocess.Popen[str]:
    """Start a process that has, or makes, an array of 50 kB; it returns when the array is there or half there."""
    words = [sys.executable, "-c", PROCESS, kind, how, key]
    run = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    assert run.stdout.readline().startswith("sum" if how == "make" else "ready")
    return run


def make(kind: str, key: str = "a") -> Path:
    start(kind, "make", key).communicate(timeout=60)
    return Path(os.environ["DIADBENCH_CACHE"]) / kind / (key * 32)


def age(path: Path, days: float) -> None:
    then = time.time() - days * 86400
    for one in [*path.rglob("*"), path]:
        os.utime(one, (then, then))


def test_the_list_says_kind_size_use_and_what_it_belongs_to(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make("images")
    holder = start("features", "hold")
    assert main(["cache", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:3]] == ["images", "features"]
    assert "images of bolt" in lines[1]
    assert "  no  " in lines[1]
    assert "  yes  " in lines[2]
    assert lines[-1].startswith(f"{root}: 10")
    assert main(["cache", "list", "--kind", "images", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["size"] > 50_000
    assert not entry["in_use"]
    holder.communicate(timeout=60)


@pytest.mark.parametrize("how", ["hold", "build"])
def test_nothing_is_taken_from_a_living_process(root: Path, how: str, capsys: pytest.CaptureFixture[str]) -> None:
    free = make("images", "b")
    living = start("images", how)
    assert main(["cache", "clear"]) == 0
    said = capsys.readouterr().out
    assert "freed 51 kB (1 entry)" in said
    assert "(1 entry) that running processes use" in said
    assert not free.exists()
    out, _ = living.communicate(timeout=60)
    assert out == "sum 50000\n"
    assert main(["cache", "clear"]) == 0
    assert not entries(root)


def test_a_killed_process_uses_nothing(root: Path) -> None:
    living = start("images", "build")
    living.kill()
    living.communicate(timeout=60)
    assert [entry.in_use for entry in entries(root)] == [False]
    assert len(clear(root).removed) == 1
    assert not list((root / ".in-use").glob("*.txt"))


def test_what_was_cleared_is_made_again(root: Path) -> None:
    make("images")
    clear(root)
    assert (make("images") / "data.bin").stat().st_size == 50_000


def test_only_what_is_old_goes_and_use_makes_it_young(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, used = make("images", "a"), make("images", "b")
    age(old, 31)
    age(used, 31)
    make("images", "b")  # finds it and uses it
    assert main(["cache", "clear", "--unused-for", "30d", "--dry-run"]) == 0
    assert "would free 51 kB (1 entry)" in capsys.readouterr().out
    assert old.exists()
    assert main(["cache", "clear", "--unused-for", "30d"]) == 0
    assert used.exists()
    assert not old.exists()


def test_only_the_kind_goes(root: Path) -> None:
    images, latents = make("images"), make("latents")
    clear(root, kind="latents")
    assert images.exists()
    assert not latents.exists()


def test_what_earlier_versions_left_is_freed(root: Path) -> None:
    for name in ("features/{}.f16", "features/{}.json", "features/{}.lock", "latents/{}.safetensors"):
        path = root / name.format("c" * 32)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(2000))
    assert [(entry.kind, len(entry.paths)) for entry in entries(root)] == [("features", 2), ("latents", 1)]
    clear(root)
    assert not entries(root)


def test_files_that_are_not_ours_stay(root: Path) -> None:
    """Somebody may put the cache where his data are."""
    theirs = [root / name for name in ("images/bolt/000.png", "notes.txt", "toy/mine/x", "anomalib/setup.py", "a/b")]
    for path in theirs:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    make("images")
    clear(root)
    assert all(path.read_text() == "mine" for path in theirs)


@pytest.mark.parametrize("mask", [0o027])
def test_real_cells_leave_what_is_known_and_readable(root: Path, mask: int) -> None:
    """Real cells fill the cache: each kind's pattern fits, and all files, models too, are as the umask says."""
    from diadbench.benchmark.planning.grid import parse_grid
    from diadbench.benchmark.runs.runner import run_grid
    from diadbench.datasets.samples import cached_sample

    toy = {"classes": ["washer"], "size": 64, "train": 2, "test_good": 1, "test_bad": 1}
    grid = {
        "name": "g",
        "methods": {
            "mean": {"method": "mean-image"},
            "uniad": {"method": "uniad-tiny", "options": {"steps": 1}},
            "patchcore": {"method": "patchcore-lite"},
        },
        "datasets": {"toy": {"options": toy}},
        "image_size": 64,
        "keep_checkpoints": True,
    }
    before = os.umask(mask)
    try:
        cached_sample("btad")
        run = run_grid(parse_grid(grid), root.parent / "run", quiet=True)
    finally:
        os.umask(before)
    assert list(run.states.values()) == ["done"] * 3
    found = {entry.kind for entry in entries(root)}
    assert found == {path.name for path in root.iterdir() if not path.name.startswith(".")}
    assert {"images", "toy", "samples", "features"} <= found <= set(KINDS)
    wrong = [
        f"{path}: {path.stat().st_mode & 0o777:o}"
        for place in (root, root.parent / "run")
        for path in place.rglob("*")
        if not path.is_symlink() and (path.stat().st_mode ^ 0o777 & ~mask) & 0o044
    ]
    assert not wrong
    assert list((root.parent / "run").rglob("*.safetensors")), "models are among the files"
    assert not any(entry.in_use for entry in entries(root) if entry.kind == "features"), "its process has ended"
    clear(root, kind="features")
    assert not list((root / "features").iterdir())


def test_a_killed_clearing_is_finished_by_the_next(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make("images")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(clearing, "_remove", killed)
    with pytest.raises(KeyboardInterrupt):
        clear(root)
    monkeypatch.undo()
    assert not inventory.entries(root)
    assert list((root / "images").iterdir())
    clear(root)
    assert not list((root / "images").iterdir())


def test_progress_ends_at_everything(root: Path) -> None:
    make("images")
    seen: list[tuple[int, int]] = []
    clear(root, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] > 50_000


def test_an_empty_cache(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "list"]) == 0
    assert main(["cache", "clear"]) == 0
    assert "freed 0 B (0 entries)" in capsys.readouterr().out
    assert not root.exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["clear", "--unused-for", "month"], "expected a number and m, h, d or w, such as 30d, found 'month'"),
        (["clear", "--kind", "image"], "--kind: unknown kind 'image'; did you mean images"),
        (["list", "--kind", "x"], "unknown kind 'x'; known:"),
    ],
)
def test_wrong_words_are_one_line(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", *words]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


def test_periods() -> None:
    assert [clearing.seconds(text) for text in ("90m", "12h", "30d", "2w")] == [5400, 43200, 2592000, 1209600]
    with pytest.raises(UserError):
        clearing.seconds("-3d")
