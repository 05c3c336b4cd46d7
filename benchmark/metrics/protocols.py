"""Protocols by name: ``diad``, ``exact+max``, ``exact+aupro@0.05+aupimo``. Imports nothing heavy."""

from __future__ import annotations

import re
from dataclasses import replace
from types import MappingProxyType

from diadbench.benchmark.metrics.conventions.protocol import (
    CurveRule,
    F1Rule,
    LabelRule,
    MaskRule,
    ProRule,
    Protocol,
    ScoreRule,
)
from diadbench.benchmark.metrics.conventions.sources import KNOWN
from diadbench.benchmark.metrics.further.further_names import FAMILIES, named
from diadbench.common.errors import UserError, unknown_name

__all__ = [
    "PROTOCOLS",
    "CurveRule",
    "F1Rule",
    "LabelRule",
    "MaskRule",
    "ProRule",
    "Protocol",
    "ScoreRule",
    "get_protocol",
]

#: All protocols by name. :func:`get_protocol` also takes rules and metrics behind a ``+``.
PROTOCOLS: MappingProxyType[str, Protocol] = MappingProxyType({protocol.name: protocol for protocol in KNOWN})

_SCORE = re.compile(r"(method|max|pooled(\d+)(?:x(\d+))?|top(0?\.\d+))")
_CROP = re.compile(r"crop(0?\.\d+)")


def get_protocol(name: str | Protocol) -> Protocol:
    """Return the protocol that ``name`` stands for.

    ``NAME+RULE`` replaces the image score rule, because ADer sets it for each method: ``ader+pooled16`` is one 16x16
    pooling (UniAD and most), ``ader+pooled21`` DRAEM's, ``+pooled8x3`` three 8x8 poolings, ``exact+max`` the
    maximum of the map instead of the method's own score, ``+top0.01`` the mean of the highest 1 % of the map.
    ``+crop0.875`` compares the centre of maps and masks alone. ``NAME+METRIC`` adds a metric by name:
    ``exact+aupro@0.05+aupimo``.

    Raises:
        UserError: No such protocol, rule or metric.
    """
    if isinstance(name, Protocol):
        return name
    base, *rules = name.split("+")
    if base not in PROTOCOLS:
        raise unknown_name("protocol", base, PROTOCOLS)
    protocol = PROTOCOLS[base]
    for rule in rules:
        protocol = replace(_with(protocol, rule, name), name=name)
    return protocol


def _with(protocol: Protocol, rule: str, name: str) -> Protocol:
    """Return the protocol with one rule replaced or one metric added."""
    if (found := _CROP.fullmatch(rule)) is not None:
        return replace(protocol, crop=float(found.group(1)))
    if (found := _SCORE.fullmatch(rule)) is not None:
        return _scored(protocol, found)
    if rule.partition("@")[0] in FAMILIES:
        further = (*protocol.further, named(rule).key)
        return replace(protocol, further=tuple(dict.fromkeys(further)))
    raise UserError(
        f"protocol {name!r}: unknown score rule {rule!r}; expected method, max, pooled16, pooled8x8 or top0.01, "
        f"a centre as crop0.875, or a metric: {', '.join(FAMILIES)}"
    )


def _scored(protocol: Protocol, found: re.Match[str]) -> Protocol:
    if found.group(2) is not None:
        return replace(protocol, score="pooled", pooling=(int(found.group(2)),) * int(found.group(3) or 1))
    if found.group(4) is not None:
        return replace(protocol, score="top", top=float(found.group(4)), pooling=())
    return replace(protocol, score=found.group(1), pooling=())  # type: ignore[arg-type]
