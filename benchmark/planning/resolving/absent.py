"""Handle what a grid names and this machine lacks: missing datasets and packages.

A plan can be made without them: their cells are shown with a predicted cost, and none of them runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TypeVar

from diadbench.benchmark.planning.grids.grid_shape import DatasetSpec, MethodSpec
from diadbench.benchmark.planning.resolving.resolve import ResolvedMethod
from diadbench.common.errors import Missing, Several, Skip, UserError
from diadbench.datasets.dataset_info import DatasetInfo
from diadbench.datasets.facts.counts import published
from diadbench.datasets.facts.known_sets import CATALOG as DATASETS
from diadbench.methods.catalog import CATALOG as METHODS
from diadbench.methods.info import MethodInfo

#: Placeholder for the digest of data that are not on this machine.
UNSEEN = "not here"
T = TypeVar("T")
S = TypeVar("S")


@dataclass(frozen=True)
class AbsentMethod(ResolvedMethod):
    """A method that can't run here. ``why`` says what is missing."""

    why: str = ""


def absent_method(spec: MethodSpec, why: str) -> AbsentMethod:
    """Return the facts of a method that are known without its class."""
    known = METHODS.get(spec.method)
    info = known.info if known else MethodInfo(spec.method, spec.label, "")
    return AbsentMethod(spec.method, dict(spec.options), asdict(info), earlier=spec.method, why=why)


class AbsentDataset:
    """A dataset that isn't on this machine. It has the facts of a resolved dataset, but no data.

    Attributes:
        why: What is missing.
        images: ``(training, test)`` images according to the published counts; ``None`` if there are none.
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
        """Return a placeholder for the digest of the data."""
        return UNSEEN


def published_images(spec: DatasetSpec) -> tuple[int, int] | None:
    """Return the published ``(training, test)`` numbers of images, of the classes that the options name."""
    tables = published(spec.dataset)
    if not tables:
        return None
    wanted = spec.options.get("classes") or list(tables[0][1])
    counts = [found for name, found in tables[0][1].items() if name in wanted]
    return sum(one.train for one in counts), sum(one.good + one.bad for one in counts)


class Problems:
    """Collect all problems of a grid, so that they are reported together.

    Attributes:
        missing: What isn't on this machine, by its key in the grid.
    """

    def __init__(self) -> None:
        self._wrong: list[UserError] = []
        self.missing: dict[str, UserError] = {}

    def of(self, where: str, resolve: Callable[[], T], absent: Callable[[str], S]) -> T | S:
        """Return the result of ``resolve``. If it raises a UserError, keep the error and return ``absent(why)``."""
        try:
            return resolve()
        except (Missing, Skip) as error:
            self.missing.setdefault(where, error)
            return absent(str(error))
        except UserError as error:
            self._wrong.append(error)
            return absent(str(error))

    def refuse(self, *, needed: Mapping[str, bool]) -> None:
        """Raise an error for all problems, and for missing things that are ``needed``; several take a line each.

        Raises:
            UserError: There is a problem.
        """
        missing = [error for where, error in self.missing.items() if needed.get(where)]
        found = list({str(error): error for error in [*self._wrong, *missing]}.values())
        if len(found) == 1:
            raise found[0]
        if found:
            lines = [f"({place}) {error}" for place, error in enumerate(found, 1)]
            lines += ["--skip-missing runs what is there"] if missing and not self._wrong else []
            raise Several.of(f"{len(found)} things stand in the way:", lines)
