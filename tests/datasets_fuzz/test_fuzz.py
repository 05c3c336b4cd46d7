"""Whatever happens to a data set: the right table, or one line that names the file; never silence or a traceback."""

from __future__ import annotations

import faulthandler
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from mutations import MUTATIONS, NEEDS_LIST, NEEDS_MASK
from world import Truth, World, copy_of, original

from diadbench.common.errors import UserError
from diadbench.datasets import get
from diadbench.datasets.base import Dataset
from diadbench.datasets.checking.check import check, refuse
from diadbench.datasets.decoding.data_module import DataModule
from diadbench.datasets.samples import layouts, sample_names

SETS = [(name, layout) for name in sample_names() for layout in layouts(name)]
#: No mutation of so small a set takes longer, in seconds; then the stack is printed and the process ends.
LONGEST = 120


class Read(NamedTuple):
    """What a reader made of a set: its messages, or the error."""

    dataset: Dataset | None
    error: str
    messages: frozenset[str]
    well: bool


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIADBENCH_CACHE", str(Path(name) / "cache"))
        patch.setenv("XDG_CONFIG_HOME", str(Path(name) / "config"))
        patch.delenv("DIADBENCH_DATA", raising=False)
        yield Path(name)


_originals: dict[tuple[str, str], tuple[World, frozenset[str]]] = {}


def whole(name: str, layout: str, home: Path) -> tuple[World, frozenset[str]]:
    """Return a sample, written once, and what is said of it."""
    if (name, layout) not in _originals:
        world = original(name, layout, home)
        found = read(world, home)
        assert not found.error, found.error
        assert differences(world, found) == []
        _originals[name, layout] = world, found.messages
    return _originals[name, layout]


def read(world: World, home: Path) -> Read:
    """Read a set as ``prepare``, a run and ``datasets check`` do, which must agree."""
    report = check(world.name, world.root, size=8, workers=1)
    told = {finding.line().replace(str(world.root), "") for finding in report.findings}
    try:
        dataset = get(world.name, world.root)
        refuse(dataset)
        data = DataModule(dataset, 8, cache_dir=home / "cache", workers=1)
        data.prepare()
        said = {*dataset.flags, *data.notes}
    except UserError as error:
        return Read(None, str(error), frozenset(told), report.ok)
    return Read(dataset, "", frozenset(told | said), report.ok)


def differences(world: World, found: Read) -> list[str]:
    """Return where the table, the images or the masks differ from the truth."""
    assert found.dataset is not None
    dataset, table = found.dataset, found.dataset.samples
    rows = {(str(row.image), str(row[2])): row for row in table.itertuples(index=False)}
    truth = {(one.image, one.cls): one for one in world.samples}
    wrong = [f"{image} of {cls} is no sample" for image, cls in sorted(set(truth) - set(rows))]
    wrong += [f"{image} of {cls} is read" for image, cls in sorted(set(rows) - set(truth))]
    test = DataModule(dataset, 8, workers=1).part(dataset.groups()[0])[1]  # opens files as a cell does
    for key in sorted(set(truth) & set(rows)):
        one, row = truth[key], rows[key]
        if (one.split, one.label) != (row.split, row.label):
            wrong.append(f"{one.image}: {row.split} {row.label}")
        elif not same_pixels(one, test._native_image(one.image)):
            wrong.append(f"{one.image}: other pixels")
        elif one.label and one.anomalous is not None and not same_mask(one, test._native_mask(str(row.mask))):
            wrong.append(f"{one.image}: another mask")
    return wrong


def same_pixels(one: Truth, found: np.ndarray[Any, Any]) -> bool:
    if found.shape != one.pixels.shape:
        return False
    return int(np.abs(found.astype(int) - one.pixels).max()) <= one.tolerance


def same_mask(one: Truth, found: np.ndarray[Any, Any]) -> bool:
    return one.anomalous is not None and found.shape == one.anomalous.shape and bool((found == one.anomalous).all())


def kinds_for(world: World) -> list[str]:
    """Return the mutations that a set can have."""
    left_out = set(NEEDS_LIST if not world.lists else ())
    if not any(world.path(one.mask).is_file() for one in world.bad):
        left_out |= set(NEEDS_MASK)
    return [kind for kind in MUTATIONS if kind not in left_out]


def one_mutation(draw: st.DataObject, home: Path) -> None:
    """Damage a copy of a set in one or two ways and read it."""
    name, layout = draw.draw(st.sampled_from(SETS))
    sample, before = whole(name, layout, home)
    with tempfile.TemporaryDirectory(dir=home) as place:
        world = copy_of(sample, Path(place))
        for kind in draw.draw(st.lists(st.sampled_from(kinds_for(world)), min_size=1, max_size=2)):
            world.done.append(kind)
            MUTATIONS[kind](world, draw.draw)
        faulthandler.dump_traceback_later(LONGEST, exit=True)
        try:
            found = read(world, home)
            holds(world, found, before)
        finally:
            faulthandler.cancel_dump_traceback_later()
            shutil.rmtree(home / "cache" / "images", ignore_errors=True)


def holds(world: World, found: Read, before: frozenset[str]) -> None:
    """The right table, or one line that names the file, or a message of the difference; and one verdict."""
    about = f"{world.name} ({world.layout}): {world.done}"
    if found.dataset is None:
        assert "\n" not in found.error, about
        assert not found.well, f"{about}: refused by a run ({found.error}), and well for the check"
        assert names_a_file(world, found.error), f"{about}: {found.error}"
        return
    assert found.well, f"{about}: a run takes it, and the check finds {sorted(found.messages - before)}"
    wrong = differences(world, found)
    if wrong:
        assert found.messages - before, f"{about}: {wrong}"


def names_a_file(world: World, error: str) -> bool:
    """Whether a message says where: a path below the root, or the root itself."""
    return str(world.root) in error or any(one.image in error or one.mask in error for one in world.samples)


def fuzz(count: int, *, fixed: bool) -> Any:
    return settings(
        max_examples=count,
        derandomize=fixed,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate] if fixed else [Phase.generate, Phase.shrink],
    )


@pytest.mark.parametrize(("name", "layout"), SETS)
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_class_without_images_of_a_split(name: str, layout: str, split: str, home: Path) -> None:
    sample, before = whole(name, layout, home)
    with tempfile.TemporaryDirectory(dir=home) as place:
        world = copy_of(sample, Path(place))
        first = world.samples[0].cls
        gone = {one.image for one in world.samples if (one.cls, one.split) == (first, split)}
        for image in gone:
            world.path(image).unlink()
        world.samples = [one for one in world.samples if one.image not in gone]
        world.done.append(f"no {split} images of {first}")
        holds(world, read(world, home), before)


@fuzz(200, fixed=True)
@given(draw=st.data())
def test_two_hundred_mutations(draw: st.DataObject, home: Path) -> None:
    one_mutation(draw, home)


@pytest.mark.slow
@fuzz(2000, fixed=False)
@given(draw=st.data())
def test_two_thousand_mutations(draw: st.DataObject, home: Path) -> None:
    one_mutation(draw, home)
