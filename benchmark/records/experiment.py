"""Find the cells of one experiment, which differ only in their seed, and names that distinguish several runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diadbench.benchmark.records.identity import digest

#: keys that decide a result, as far as cells of earlier versions kept them
KEPT_BEFORE = ("method", "method_options", "setting", "image_size", "resize")
#: key of a substitute for unknown code: the run that the cell comes from
CODE_OF = "code_of"
#: key of a substitute for values that a cell of an earlier version didn't keep
EARLIER = "earlier_version"


def decided(status: Mapping[str, Any], config: Mapping[str, Any], run: Path) -> dict[str, Any]:
    """Return what decides a cell's result besides its seed.

    Cells of earlier versions didn't keep it, so a substitute is made from their ``cell.yaml``. It contains the run
    directory in place of a digest of a user's code, so such cells form one experiment only within a run.

    Args:
        status: ``status.json`` of the cell; for a cell that never began, it has only the state.
        config: ``cell.yaml`` of the cell.
        run: Resolved path of the run directory.

    Returns:
        Plain values by name; empty if the source of the result is unknown.
    """
    began = bool(status.get("identity"))
    kept: dict[str, Any] = status.get("decides") or ({} if began else config.get("decides") or {})
    if kept:
        return dict(kept)
    if began and config.get("identity", status["identity"]) != status["identity"]:
        return {}  # cell.yaml was written for a later try.
    stand_in = {key: config.get(key) for key in KEPT_BEFORE}
    stand_in["fingerprint"] = status.get("fingerprint") or config.get("fingerprint", "")
    if _is_brought(config.get("method")):
        stand_in[CODE_OF] = str(run)
    return {**stand_in, EARLIER: True}


def _is_brought(method: object) -> bool:
    """Whether the method is a user's class, from a file or a module, rather than a registered name."""
    return isinstance(method, str) and ":" in method and not method.startswith("anomalib:")


def configuration(status: Mapping[str, Any], config: Mapping[str, Any], run: Path) -> str:
    """Return the hash of what :func:`decided` returns: the same for all seeds of one experiment."""
    began = bool(status.get("identity"))
    kept = status.get("configuration") or ("" if began else config.get("configuration"))
    return str(kept) if kept else digest(decided(status, config, run) or {"identity": status.get("identity", "")})


def run_names(paths: Sequence[Path]) -> dict[Path, str]:
    """Return for each resolved path its shortest unique ending: ``before/g`` and ``after/g``."""
    return {path: _shortest(path, [other for other in paths if other != path]) for path in paths}


def _shortest(path: Path, others: Sequence[Path]) -> str:
    for length in range(1, len(path.parts) + 1):
        end = path.parts[-length:]
        if all(other.parts[-length:] != end for other in others):
            return str(Path(*end))
    return str(path)
