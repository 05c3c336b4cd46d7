"""Every model of the installed anomalib as a method, ``anomalib:<Name>``, with the model's own arguments.

One bridge serves all models, without a list of allowed names. A model is built by its class, trained by Lightning's
Trainer with the arguments of anomalib's Engine on the normal images of all classes, and predicts raw maps and scores.
anomalib's normalisation and thresholds need labelled images and are left out.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

from diadbench.common.errors import unknown_name
from diadbench.methods.anomalib_models.components import model_class
from diadbench.methods.anomalib_models.method import LATER, OWN, AnomalibMethod
from diadbench.methods.anomalib_models.method import LrInterval as LrInterval
from diadbench.methods.anomalib_models.names import BY_BATCH, CITATIONS, model_names
from diadbench.methods.anomalib_models.options import options_of
from diadbench.methods.base import MethodInfo

#: Version of the bridge. Raise it when results change for the same anomalib and options (see ``MethodInfo``).
VERSION = 2


@cache
def bridge(name: str) -> type[AnomalibMethod]:
    """Return the method class for anomalib's model ``name`` (``Padim``).

    Its signature has the bridge's own options and the model's arguments with their types and defaults, so that a
    grid's values are checked as for any other method.

    Raises:
        UserError: anomalib has no such model.
        Skip: anomalib can't be imported.
    """
    if name not in model_names():
        raise unknown_name("anomalib model", name, model_names())
    cls = model_class(name)
    taken = {parameter.name for parameter in OWN}
    model_options = [option for option in options_of(cls) if option.name not in taken]
    summary = next((line.strip() for line in (inspect.getdoc(cls) or "").splitlines() if line.strip()), "")
    info = MethodInfo(
        name=f"anomalib:{name}",
        title=name,
        summary=f"{summary.rstrip('.')} (anomalib).",
        cite=CITATIONS.get(name, "akcay2022anomalib"),
        batch_invariant=name not in BY_BATCH,
        version=VERSION,
        packages=("anomalib",),
        technical=("checkpoint_minutes",),
        later=LATER,
    )
    signature = inspect.Signature([*OWN, *model_options])
    made = type(
        f"Anomalib{name}",
        (AnomalibMethod,),
        {
            "info": info,
            "model_name": name,
            "__module__": __name__,
            "__doc__": AnomalibMethod.__doc__,
            "__init__": _init_with(signature),
            "__signature__": signature,
        },
    )
    return made


def _init_with(signature: inspect.Signature) -> Callable[..., None]:
    """Return an ``__init__`` that shows ``signature``."""

    def __init__(self: AnomalibMethod, **options: Any) -> None:
        AnomalibMethod.__init__(self, **options)

    self_parameter = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    __init__.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[self_parameter, *signature.parameters.values()]
    )
    __init__.__annotations__ = {name: entry.annotation for name, entry in signature.parameters.items()}
    return __init__
