"""How results are shown: the block ``show:`` of a grid, the options of a command, the arguments of a function.

No setting affects a result, so no cell runs again because of one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from diadbench.common.errors import UserError, unknown_name

#: maximum number of decimals; more would be noise
MOST_DIGITS = 4


@dataclass(frozen=True)
class Show:
    """How results are shown. Methods and datasets are found by their label in the grid or by their printed name.

    Attributes:
        names: Printed names of methods and datasets: ``{RevDist: Ours}``.
        methods: Keep these methods, in this order.
        datasets: Keep these datasets, in this order.
        classes: Keep these classes; means go over them alone, and a note says so.
        drop: Leave these classes out; means go over the rest, and a note says so.
        sort: Metric key: methods stand by its mean over the datasets, best first; those that lack a dataset come after.
        digits: Decimals of values in percent, 0 to 4. Ranks follow the printed digits.
        std: Print standard deviations over seeds.
        caption: Of the table; in a report, of the summary.
        label: LaTeX label of the table; in a report, of the summary.
        ours: Methods that are emphasised everywhere.
        baseline: Method that all others are compared with.
        published: Published rows to print in the summary: ``MambaAD``, or ``MambaAD@MambaAD README`` for one source.
        images: Test images of the qualitative grid: ``best``, ``median`` and ``worst`` of each class, and paths or ends
            of paths of kept images (``bottle/test/hole/000.png``). By default the median of each class.
        titles: Draw titles in figures. ``figures/captions.txt`` has them, and all notes, in either case.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    methods: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    sort: str = ""
    digits: int = 1
    std: bool = True
    caption: str = ""
    label: str = ""
    ours: tuple[str, ...] = ()
    baseline: str = ""
    published: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    titles: bool = True
    _said: frozenset[str] = field(default=frozenset(), compare=False, repr=False)

    @classmethod
    def read(cls, values: Mapping[str, Any] | Show | None, where: str = "show") -> Show:
        """Check plain values.

        Raises:
            UserError: An unknown key, or a value of the wrong kind.
        """
        if isinstance(values, Show):
            return values
        if values is not None and not isinstance(values, Mapping):
            raise UserError(f"{where}: expected keys ({', '.join(KEYS)}), found {values!r}")
        found = {}
        for key, value in (values or {}).items():
            if key not in KEYS:
                raise unknown_name("key", str(key), KEYS, where=where)
            if value is not None:
                found[key] = _checked(key, value, f"{where}: {key}")
        if found.get("classes") and found.get("drop"):
            raise UserError(f"{where}: give classes (to keep) or drop (to leave out), not both")
        return cls(**found, _said=frozenset(found))

    @property
    def given(self) -> dict[str, Any]:
        """Return the keys that were given or differ from their defaults."""
        values = {key: getattr(self, key) for key in KEYS}
        return {key: value for key, value in values.items() if key in self._said or value != getattr(_PLAIN, key)}

    def under(self, over: Show) -> Show:
        """Return these settings overridden by those given in ``over``; ``names`` are merged."""
        values = {**self.given, **over.given}
        if "classes" in over.given or "drop" in over.given:
            for key in {"classes", "drop"} - set(over.given):
                values.pop(key, None)
        said = self._said | over._said
        return Show(**{**values, "names": {**self.names, **over.names}}, _said=said)


KEYS = tuple(entry.name for entry in dataclasses.fields(Show) if not entry.name.startswith("_"))
_PLAIN = Show()
#: settings that affect only figures
FIGURES = ("images", "titles")


def _checked(key: str, value: Any, where: str) -> Any:
    if key == "names":
        return _names(value, where)
    if key == "digits":
        if type(value) is not int or not 0 <= value <= MOST_DIGITS:
            raise UserError(f"{where}: expected a whole number from 0 to {MOST_DIGITS}, found {value!r}")
        return value
    kind = type(getattr(_PLAIN, key))
    if kind is tuple:
        return _texts([value] if isinstance(value, str) else value, where)
    if not isinstance(value, kind):
        raise UserError(f"{where}: expected {'true or false' if kind is bool else 'a text'}, found {value!r}")
    return value


def _names(value: Any, where: str) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise UserError(f"{where}: expected names and how they are printed, as {{RevDist: Ours}}; found {value!r}")
    found = dict(zip(_texts(list(value), where), _texts(list(value.values()), where)))
    empty = [name for name, text in found.items() if not text.strip()]
    if empty:
        raise UserError(f"{where}: {empty[0]}: expected a name to print, found nothing")
    return found


def _texts(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)):
        raise UserError(f"{where}: expected a list of names, found {value!r}")
    for entry in value:
        if not isinstance(entry, str):
            raise UserError(f"{where}: expected names, found {entry!r}; write a name in quotes where YAML reads more")
    return tuple(value)


def in_all_runs(blocks: Mapping[str, Show]) -> Show:
    """Return the common settings of the ``show`` blocks of several runs.

    Args:
        blocks: Blocks by the name of the run.

    Raises:
        UserError: Two runs have different values for a key, or print one method differently.
    """
    values: dict[str, tuple[str, Any]] = {}
    names: dict[str, tuple[str, str]] = {}
    for run, block in blocks.items():
        for place, pairs in ((values, block.given), (names, block.names)):
            for key, value in pairs.items():
                if key == "names":
                    continue
                other, found = place.setdefault(key, (run, value))
                if found != value:
                    raise UserError(
                        f"the show blocks of {other} and {run} differ: {key} is {found!r} and {value!r}; "
                        f"give the one that holds, as an option or an argument"
                    )
    found = {key: value for key, (_, value) in values.items()}
    return Show(**found, names={key: name for key, (_, name) in names.items()})
