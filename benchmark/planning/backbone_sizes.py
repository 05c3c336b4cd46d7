"""Whether a method's backbone takes the images of a grid, known before anything runs, and remembered."""

from __future__ import annotations

import hashlib
import json

from diadbench.benchmark.cells.provenance import version_of
from diadbench.benchmark.planning.resolve import ResolvedMethod
from diadbench.common.errors import UserError
from diadbench.common.files import cache_dir, read_json, write_json
from diadbench.methods.registry import TABLE

#: The project's methods whose backbone anomalib makes.
_ANOMALIBS = ("padim",)


def refuse_size(method: ResolvedMethod, size: tuple[int, int], where: str) -> None:
    """Refuse a backbone that can't take images of a size.

    The answer is kept in the cache directory, for the question imports torch.

    Args:
        method: One of the project's with an option ``backbone``; others are not looked at.
        size: ``(H, W)`` at which it is run.
        where: Its key in the grid, for the error.

    Raises:
        UserError: The network allows no such size.
    """
    name = method.options.get("backbone")
    if not isinstance(name, str) or method.identity not in TABLE or method.identity in _ANOMALIBS:
        return
    key = hashlib.sha256(json.dumps([name, size, version_of("timm")]).encode()).hexdigest()[:32]
    memo = cache_dir() / "resolved" / f"size-{key}.json"
    known = read_json(memo)
    told = str(known["told"]) if isinstance(known, dict) else _told(name, size)
    if known is None:
        write_json(memo, {"told": told})
    if told:
        raise UserError(f"{where}: {told}")


def _told(name: str, size: tuple[int, int]) -> str:
    from diadbench.methods.features.any_size import check_size

    try:
        check_size(name, size)
    except UserError as error:
        return str(error)
    return ""
