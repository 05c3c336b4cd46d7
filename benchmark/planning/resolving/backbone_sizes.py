"""Check whether a method's backbone accepts the image size of a grid before anything runs, and remember the answer."""

from __future__ import annotations

import hashlib
import json

from diadbench.benchmark.cells.provenance import version_of
from diadbench.benchmark.planning.resolving.resolve import ResolvedMethod
from diadbench.common.errors import UserError
from diadbench.common.files import cache_dir, read_json, write_json
from diadbench.methods.registry import TABLE

#: Methods of the project whose backbone is built by anomalib.
_ANOMALIBS = ("padim",)


def refuse_size(method: ResolvedMethod, size: tuple[int, int], where: str) -> None:
    """Refuse a backbone that can't process images of the given size.

    The answer is kept in the cache directory, because finding it imports torch.

    Args:
        method: A method of the project with an option ``backbone``; other methods are not checked.
        size: ``(H, W)`` of the images.
        where: Key of the method in the grid, for the error text.

    Raises:
        UserError: The network doesn't accept the size.
    """
    name = method.options.get("backbone")
    if not isinstance(name, str) or method.identity not in TABLE or method.identity in _ANOMALIBS:
        return
    key = hashlib.sha256(json.dumps([name, size, version_of("timm")]).encode()).hexdigest()[:32]
    memo = cache_dir() / "resolved" / f"size-{key}.json"
    known = read_json(memo)
    told = str(known["told"]) if isinstance(known, dict) else _refusal(name, size)
    if known is None:
        write_json(memo, {"told": told})
    if told:
        raise UserError(f"{where}: {told}")


def _refusal(name: str, size: tuple[int, int]) -> str:
    from diadbench.methods.features.any_size import check_size

    try:
        check_size(name, size)
    except UserError as error:
        return str(error)
    return ""
