"""``datasets prepare NAME --download``: from the archive on a server to a checked set, once."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
from range_server import Served, serving

from diadbench.cli import main
from diadbench.common.errors import UserError
from diadbench.datasets import get
from diadbench.datasets.checking.describe import info_text
from diadbench.datasets.downloading import download as downloading
from diadbench.datasets.downloading import fetch as fetching
from diadbench.datasets.downloading.download import download
from diadbench.datasets.downloading.links import RemoteFile, Source, sources
from diadbench.datasets.facts.counts import Counts
from diadbench.datasets.facts.known_sets import CATALOG
from diadbench.datasets.samples import make_sample

SMALL = {"train": 4, "good": 2, "bad": 3, "size": 24}
RIGHT = {"tubes": Counts(4, 2, 3)}


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "WAITS", (0.0,) * 5)


def archive(folder: Path, name: str = "mpdd", kind: str = "zip") -> bytes:
    """Return the archive of a sample, as an owner's server has it."""
    make_sample(name, folder / "MPDD", classes=["tubes"] if name == "mpdd" else None, **SMALL)
    (folder / "MPDD/.diadbench-sample").unlink()
    made = shutil.make_archive(str(folder / "made"), kind, folder, "MPDD")
    shutil.rmtree(folder / "MPDD")
    return Path(made).read_bytes()


def offer(
    monkeypatch: pytest.MonkeyPatch, address: str, content: bytes, sha256: str = "", counts: dict[str, Counts] = RIGHT
) -> None:
    """Let mpdd be a set with a direct link."""
    file = RemoteFile(f"{address}/set.zip", len(content), sha256)
    monkeypatch.setattr(downloading, "sources", lambda: {"mpdd": Source("https://page", (file,))})
    monkeypatch.setattr(downloading, "published", lambda name: [("MPDD", counts)])


def served(content: bytes, **options: object) -> Served:
    return Served({"/set.zip": content}, {"/set.zip": '"one"'}, **options)  # type: ignore[arg-type]


def test_one_command_gets_unpacks_counts_and_prepares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content = archive(tmp_path)
    root, server = tmp_path / "data" / "mpdd", served(content, break_after=[5000])
    command = ["datasets", "prepare", "mpdd", "--download", "--root", str(root), "--size", "16"]
    with serving(server) as address:
        offer(monkeypatch, address, content, hashlib.sha256(content).hexdigest())
        assert main(command) == 0
        lines = capsys.readouterr().out.splitlines()
        assert server.asked == ["", "bytes=5000-"]
        assert main(command) == 0
        again = capsys.readouterr().out
        assert len(server.asked) == 2  # once
    assert lines[0].startswith("MPDD: set.zip, ")
    assert "licence CC BY-NC-SA 4.0" in lines[0]
    assert "verified: checksum, 9 images, as published" in lines
    assert lines[-1].startswith("9 samples of 1 classes at 16 px")
    assert "is there already: nothing downloaded" in again
    assert sorted(path.name for path in root.parent.iterdir()) == ["mpdd"]  # nothing is left beside it


def test_without_a_root_it_goes_below_the_data_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = archive(tmp_path)
    with serving(served(content)) as address:
        offer(monkeypatch, address, content)
        with pytest.raises(UserError, match="no place to download to; give --root DIRECTORY"):
            download("mpdd")
        monkeypatch.setenv("DIADBENCH_DATA", str(tmp_path / "all"))
        made = download("mpdd")
    assert made.root == tmp_path / "all/mpdd"
    assert made.verdict == "verified: 9 images, as published"
    assert len(get("mpdd", made.root).samples) == 9
    assert not download("mpdd").new


def test_offline_is_one_line_and_the_next_call_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content = archive(tmp_path)
    root = tmp_path / "mpdd"
    server = served(content, break_after=[5000, *[0] * 20])
    with serving(server) as address:
        offer(monkeypatch, address, content)
        assert main(["datasets", "prepare", "mpdd", "--download", "--root", str(root)]) == 2
        err = capsys.readouterr().err.strip()
        assert "no connection" in err
        assert "the same command goes on" in err
        assert "\n" not in err
        assert not root.exists()
        server.break_after.clear()
        assert download("mpdd", root).new
        assert server.asked[-1] == "bytes=5000-"


def test_a_download_that_never_began_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(served(b"x")) as address:
        pass  # nobody listens there any more
    offer(monkeypatch, address, b"x")
    with pytest.raises(UserError, match="no connection"):
        download("mpdd", tmp_path / "new" / "mpdd")
    assert not list((tmp_path / "new").iterdir())


def test_a_killed_unpacking_is_done_again_without_a_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content, server = archive(tmp_path), served(b"")
    server.files["/set.zip"] = content

    def kill(done: int, total: int, what: str) -> None:
        if what == "unpacking":
            raise KeyboardInterrupt

    with serving(server) as address:
        offer(monkeypatch, address, content)
        with pytest.raises(KeyboardInterrupt):
            download("mpdd", tmp_path / "mpdd", progress=kill)
        assert not (tmp_path / "mpdd").exists()
        assert download("mpdd", tmp_path / "mpdd").new
    assert len(server.asked) == 1


def test_other_counts_are_refused_where_no_checksum_speaks_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = archive(tmp_path)
    wrong = {"tubes": Counts(5, 2, 3), "connector": Counts(1, 1, 1)}
    with serving(served(content)) as address:
        offer(monkeypatch, address, content, counts=wrong)
        with pytest.raises(UserError, match="9 images; other counts than the published ones in tubes, connector"):
            download("mpdd", tmp_path / "mpdd")
        assert not (tmp_path / "mpdd").exists()
        offer(monkeypatch, address, content, hashlib.sha256(content).hexdigest(), wrong)
        made = download("mpdd", tmp_path / "mpdd")
    assert "checksum, 9 images; other counts than the published ones in tubes, connector" in made.verdict


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"PK\3\4 cut off", "cut off, damaged"), (b"something else entirely", "cut off, damaged, or no zip or tar")],
)
def test_a_broken_archive_is_removed_and_told(
    content: bytes, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(served(content)) as address:
        offer(monkeypatch, address, content)
        with pytest.raises(UserError, match=says):
            download("mpdd", tmp_path / "mpdd")
    assert not (tmp_path / "mpdd").exists()
    assert not list(tmp_path.rglob("*.zip"))


def test_an_archive_of_another_set_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = archive(tmp_path, "kolektorsdd2")
    with serving(served(content)) as address:
        offer(monkeypatch, address, content)
        with pytest.raises(UserError, match="not MPDD in a known layout"):
            download("mpdd", tmp_path / "mpdd")
    assert not (tmp_path / "mpdd").exists()


def test_two_at_once_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from filelock import FileLock

    work = tmp_path / ".mpdd.download"
    work.mkdir()
    with serving(served(b"x")) as address:
        offer(monkeypatch, address, b"x")
        with FileLock(work / "lock"), pytest.raises(UserError, match="another process is downloading there"):
            download("mpdd", tmp_path / "mpdd")


def test_several_archives_make_one_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_sample("coco_ad", tmp_path / "coco", **SMALL)
    (tmp_path / "coco/.diadbench-sample").unlink()
    server, files = Served({}), []
    with serving(server) as address:
        for part in ("annotations", "train2017", "val2017"):
            made = Path(shutil.make_archive(str(tmp_path / part), "zip", tmp_path / "coco", part)).read_bytes()
            server.files[f"/{part}.zip"] = made
            files.append(RemoteFile(f"{address}/{part}.zip", len(made), hashlib.sha256(made).hexdigest()))
        monkeypatch.setattr(downloading, "sources", lambda: {"coco_ad": Source("https://page", tuple(files))})
        lines: list[str] = []
        made_set = download("coco_ad", tmp_path / "new", say=lines.append)
    assert lines[0].startswith("COCO-AD: 3 files, ")
    assert len(get("coco_ad", made_set.root).samples) == len(get("coco_ad", tmp_path / "coco").samples)


@pytest.mark.parametrize("name", [name for name, source in sources().items() if not source.files])
def test_where_a_form_is_needed_the_page_is_named(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["datasets", "prepare", name, "--download", "--root", str(tmp_path / "x")]) == 2
    err = capsys.readouterr().err.strip()
    assert f"on {sources()[name].page}: {sources()[name].how} into {tmp_path / 'x'}" in err
    assert "\n" not in err
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(("name", "says"), [("toy", "nothing to download"), ("vsa", "did you mean visa")])
def test_what_cannot_be_downloaded(name: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=says):
        download(name, tmp_path / "x")


def test_the_links_are_whole() -> None:
    """Every set with a folder has a source; every direct link is plain, and says how it was verified."""
    assert set(sources()) == {name for name, entry in CATALOG.items() if entry.folders}
    for name, source in sources().items():
        assert source.page.startswith("https://"), name
        assert bool(source.files) != bool(source.how), name
        for file in source.files:
            assert file.url.startswith(("https://", "http://images.cocodataset.org/")), name
            assert file.name.endswith((".zip", ".tar")), name
            assert file.verified, name
            assert not file.sha256 or (len(file.sha256) == 64 and file.sha256 == file.sha256.lower()), name
    assert "1.9 GB from amazon-visual-anomaly" in info_text("visa")
