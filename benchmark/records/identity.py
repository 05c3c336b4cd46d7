"""The identity of a cell's result as one hash, and a description of how two identities differ.

``decides`` is a dict of plain values (made in :mod:`diadbench.benchmark.planning.plan`). Its hash is the cell's
``configuration``; with the seed it is the cell's ``identity``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

#: Placeholder in ``decides`` for an option that names a file or folder: its content, not its path.
CONTENT = "content:"
#: The keys of an identity before it contained versions, code and threads.
EARLIER_KEYS = ("method", "method_options", "fingerprint", "setting", "image_size", "resize")
_MISSING = object()


@dataclass(frozen=True)
class Wanted:
    """What the grid asks of a cell.

    Attributes:
        identity: Hash of ``decides`` and the seed.
        configuration: Hash of ``decides``.
        protocol: Name of the metrics' protocol.
        decides: What decides the result.
        earlier: The identity that earlier versions of this program gave the cell.
    """

    identity: str
    configuration: str
    protocol: str
    decides: dict[str, Any]
    earlier: str

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Wanted:
        """Return what a planned cell's configuration asks for."""
        return cls(**{name: config[name] for name in cls.__dataclass_fields__})


def digest(decides: Mapping[str, Any]) -> str:
    """Return the hash (32 hexadecimal digits) of the values that decide a result."""
    return hashlib.sha256(json.dumps(decides, sort_keys=True, default=str).encode()).hexdigest()[:32]


def deciding_options(options: Mapping[str, Any], info: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a method that are part of a cell's identity.

    Args:
        options: All options of the method, as plain values.
        info: The method's facts, as plain values (:class:`~diadbench.methods.info.MethodInfo`).
    """
    technical, later = info.get("technical", ()), dict(info.get("later", ()))
    return {
        name: value
        for name, value in options.items()
        if name not in technical and not (name in later and value == later[name])
    }


def is_wanted(status: Mapping[str, Any], wanted: Wanted) -> bool:
    """Whether a cell on disk has the wanted identity and protocol."""
    return has_result_of(status, wanted.identity, wanted.protocol)


def has_result_of(status: Mapping[str, Any], identity: str, protocol: str) -> bool:
    """Whether a status is that of a cell with this identity, evaluated by this protocol, which no identity holds."""
    return status.get("identity") == identity and status.get("protocol", protocol) == protocol


def difference(status: Mapping[str, Any], config: Mapping[str, Any], wanted: Wanted) -> str:
    """Return a description of how a cell on disk differs from the wanted one; ``""`` if it doesn't.

    Args:
        status: Its ``status.json``.
        config: Its ``cell.yaml``.
        wanted: What the grid asks for.
    """
    if is_wanted(status, wanted):
        return ""
    if status.get("protocol", wanted.protocol) != wanted.protocol:
        return f"protocol {status['protocol']} -> {wanted.protocol}"
    said = status.get("decides") or {}
    if "version" in said:
        return _listed(changes(said, wanted.decides)) or "seed changed"
    return _earlier_difference(status, config, wanted)


def older_note(status: Mapping[str, Any], wanted: Wanted) -> str:
    """Return a note for an accepted result whose identity was made by an earlier version, else ``""``."""
    if status.get("identity") == wanted.identity or status.get("identity") != wanted.earlier:
        return ""
    unknown = [key for key in ("code",) if key in wanted.decides]
    missing = f"; it doesn't say which {', '.join(unknown)} it was made with" if unknown else ""
    return f"identity of an older version of diadbench{missing}"


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return what differs between two ``decides``: ``["method_options.k 3 -> 5"]``."""
    before, after = dict(_flat(old)), dict(_flat(new))
    return [
        _change(key, before.get(key, _MISSING), after.get(key, _MISSING))
        for key in dict.fromkeys([*before, *after])
        if before.get(key, _MISSING) != after.get(key, _MISSING)
    ]


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _change(key: str, before: Any, after: Any) -> str:
    if key == "fingerprint":
        return "the data changed"
    if key.startswith("code."):
        return f"the code of {key.removeprefix('code.')} changed"
    return f"{key} {_short(before)} -> {_short(after)}"


def _short(value: Any) -> str:
    if value is _MISSING:
        return "(none)"
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _listed(found: list[str]) -> str:
    rest = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return ", ".join(found[:3]) + rest


# -- cells of earlier versions ----------------------------------------------------------------------------------


def _earlier_difference(status: Mapping[str, Any], config: Mapping[str, Any], wanted: Wanted) -> str:
    """Compare with a result whose identity held fewer keys; the missing ones are read from the cell itself."""
    said = _said_otherwise(status, config)
    if status.get("identity") != wanted.earlier:
        keys = [key for key in EARLIER_KEYS if key in config and key != "method"]
        said |= {key: config[key] for key in keys if key != "method_options"}
        said["method_options"] = {
            key: value
            for key, value in (config.get("method_options") or {}).items()
            if not str(wanted.decides["method_options"].get(key, "")).startswith(CONTENT)
        }
        asked = _asked(said, wanted.decides)
        return _listed(changes(said, asked)) or "its method, or the code or files of it, changed"
    return _listed(changes(said, _asked(said, wanted.decides)))


def _asked(said: dict[str, Any], decides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of ``decides`` that can be compared with a cell of an earlier version."""
    asked = {key: decides[key] for key in said if key in decides}
    if "devices" in said:  # earlier versions trained each of several devices with the whole batch
        asked["devices"] = 1
    for key in [key for key in said if key not in asked]:
        del said[key]
    if "method_options" in said:
        options = decides["method_options"].items()
        asked["method_options"] = {key: value for key, value in options if not str(value).startswith(CONTENT)}
    return asked


def _said_otherwise(status: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a cell of an earlier version keeps outside its identity."""
    environment = status.get("environment") or {}
    found = {
        "version": 1,
        "devices": config.get("devices"),
        "batch_size": config.get("batch_size"),
        "evaluation_size": config.get("image_size"),
        "threads": environment.get("threads"),
        "packages": _some_packages(environment.get("packages") or {}),
    }
    return {key: value for key, value in found.items() if value is not None}


def _some_packages(packages: Mapping[str, Any]) -> dict[str, Any] | None:
    kept = {name: packages[name] for name in ("anomalib",) if packages.get(name)}
    return kept or None
