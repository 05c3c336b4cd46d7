"""Names of methods. A table of import strings and facts: listing them imports no torch."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from diadbench.common.errors import UserError
from diadbench.common.plugins import apart_of, entry_points, load_class, target_of
from diadbench.common.processes.apart import keep_calls_apart
from diadbench.common.values.arguments import arguments_of
from diadbench.common.values.typed import typed
from diadbench.methods.catalog import CATALOG

if TYPE_CHECKING:
    from diadbench.methods.base import Method

GROUP = "diadbench.methods"
#: Functions of a method that run its author's code, with the settings of the process that this code makes.
CALLS = ("__init__", "fit", "predict", "save", "load", "parameters_count", "expect", "has_answers", "predict_samples")
#: Users' classes whose functions have been wrapped already.
_PREPARED: WeakSet[type[Method]] = WeakSet()
TABLE: dict[str, str] = {name: entry.target for name, entry in CATALOG.items()}
#: What there is in place of methods that people ask for, by the name without signs in small letters.
INSTEAD: dict[str, str] = {
    "simplenet": "anomalib 2.7.0 has no SimpleNet; there is SuperSimpleNet, another method: the preset supersimplenet",
    "dinomaly2": "anomalib's use_context_recentering is another variant; there is Dinomaly: the preset dinomaly",
    "mambaad": "neither here nor in anomalib; `diadbench published list` has its figures",
    "rd": "it goes by the name rd4ad (a preset)",
    "reversedistillation": "it goes by the name rd4ad (a preset) or anomalib:ReverseDistillation",
    "inpformer": "it goes by the name inp-former (a preset) or anomalib:InpFormer",
}


def names() -> list[str]:
    """Return all known names: first the project's, then those of installed plug-ins."""
    return [*TABLE, *entry_points(GROUP)]


def get_class(name: str) -> type[Method]:
    """Return the class for a name, ``file.py:Class``, an entry point, or ``anomalib:Model``. Raises UserError."""
    if name.startswith("anomalib:"):
        from diadbench.methods.anomalib_models.bridge import bridge

        return bridge(name.removeprefix("anomalib:"))
    if not target_of(name, TABLE, GROUP) and (told := _instead(name)):
        raise UserError(f"unknown method {name!r}: {told}")
    found: type[Method] = load_class("method", name, TABLE, GROUP)
    if not found.__module__.startswith("diadbench.") and found not in _PREPARED:
        _give_types(found)
        keep_calls_apart(found, CALLS, apart_of(found))
        _PREPARED.add(found)
    return found


def _give_types(cls: type[Method]) -> None:
    """Let a user's constructor get its options as what its hints say; a grid keeps them as plain values.

    A text in place of the member of an ``Enum`` would be unequal to it without a word.
    """
    made = vars(cls).get("__init__")
    if not inspect.isfunction(made):
        return
    hints = arguments_of(cls).hints

    @functools.wraps(made)
    def initialise(self: Any, *arguments: Any, **options: Any) -> None:
        made(self, *arguments, **{name: typed(hints.get(name, Any), value) for name, value in options.items()})

    setattr(cls, made.__name__, initialise)


def _instead(name: str) -> str:
    """Return what there is in place of a method that people know by this name; ``""`` if nobody does."""
    from diadbench.methods.anomalib_models.names import model_names

    plain = _plain(name)
    model = next((model for model in model_names() if _plain(model) == plain), None)
    return INSTEAD.get(plain) or (f"it goes by the name anomalib:{model}" if model else "")


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))
