"""What a grid names and this machine hasn't: data sets that aren't here, packages that aren't installed.

A plan can be made without them: their cells are shown, with what they would cost, and none of them runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TypeVar

from diadbench.benchmark.planning.grid import DatasetSpec, MethodSpec
from diadbench.benchmark.planning.resolve import ResolvedMethod
from diadbench.common.errors import Missing, Skip, UserError
from diadbench.datasets.dataset_info import DatasetInfo
from diadbench.datasets.facts.counts import published
from diadbench.datasets.facts.known_sets import CATALOG as DATASETS
from diadbench.methods.catalog import CATALOG as METHODS
from diadbench.methods.info import MethodInfo

#: Stands where the digest of data would stand that nobody has seen.
UNSEEN = "not here"
T = TypeVar("T")
S = TypeVar("S")


@dataclass(frozen=True)
class AbsentMethod(ResolvedMethod):
    """A method that can't run here. ``why`` says what is missing."""

    why: str = ""


def absent_method(spec: MethodSpec, why: str) -> AbsentMethod:
    """Return what is known of a method without its class."""
    known = METHODS.get(spec.method)
    info = known.info if known else MethodInfo(spec.method, spec.label, "")
    return AbsentMethod(spec.method, dict(spec.options), asdict(info), earlier=spec.method, why=why)


class AbsentDataset:
    """A dataset that isn't here. It has the facts of a resolved one, and no data.

    Attributes:
        why: What is missing.
        images: ``(training, test)`` images by the published counts; ``None`` where there are none.
    """

    root: str | None = None
    is_cut = False
    samples = None

    def __init__(self, spec: DatasetSpec, why: str) -> None:
        known = DATASETS.get(spec.dataset)
        info = known.info if known else DatasetInfo(spec.dataset, spec.label, "")
        self.why, self.options = why, dict(spec.options)
        self.info = {**asdict(info), "flags": list(info.flags), "source": UNSEEN}
        self.images = published_images(spec)

    def fingerprint(self, channels: tuple[str, ...]) -> str:
        """Return what stands for the digest of the data."""
        return UNSEEN


def published_images(spec: DatasetSpec) -> tuple[int, int] | None:
    """Return the published ``(training, test)`` images of a dataset, of the classes that its options name."""
    tables = published(spec.dataset)
    if not tables:
        return None
    wanted = spec.options.get("classes") or list(tables[0][1])
    counts = [found for name, found in tables[0][1].items() if name in wanted]
    return sum(one.train for one in counts), sum(one.good + one.bad for one in counts)


class Problems:
    """Collects what is wrong with a grid, so that all of it is told at once.

    Attributes:
        missing: What isn't on this machine, by its key in the grid.
    """

    def __init__(self) -> None:
        self._wrong: list[UserError] = []
        self.missing: dict[str, UserError] = {}

    def of(self, where: str, resolve: Callable[[], T], absent: Callable[[str], S]) -> T | S:
        """Return what ``resolve`` does; what ``absent(why)`` does when that raises a UserError, which is kept."""
        try:
            return resolve()
        except (Missing, Skip) as error:
            self.missing.setdefault(where, error)
            return absent(str(error))
        except UserError as error:
            self._wrong.append(error)
            return absent(str(error))

    def refuse(self, *, needed: Mapping[str, bool]) -> None:
        """Raise for what is wrong, and for what is missing and ``needed``: one as it is, several in one line.

        Raises:
            UserError: There is something.
        """
        missing = [error for where, error in self.missing.items() if needed.get(where)]
        found = [*self._wrong, *missing]
        if len(found) == 1:
            raise found[0]
        if found:
            told = "; ".join(f"({place}) {error}" for place, error in enumerate(found, 1))
            rest = "; --skip-missing runs what is there" if missing and not self._wrong else ""
            raise UserError(f"{len(found)} things stand in the way: {told}{rest}")
