"""Resolve a method's options against its signature, and remember the result.

To know an option's default, the method's class must be imported, and torch with it. ``run`` with nothing to do and
``--dry-run`` should not take that time, so the result is kept in the cache directory under a hash of all that it
depends on: the options and the code.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from diadbench import methods
from diadbench.benchmark.cells.provenance import version_of
from diadbench.common.code import MAIN, Code, code_of_file, code_of_module, meaning
from diadbench.common.errors import UserError
from diadbench.common.files import cache_dir, read_json, write_json
from diadbench.common.plugins import forget, target_of
from diadbench.common.values.arguments import checked_arguments
from diadbench.methods import registry
from diadbench.methods.catalog import CATALOG
from diadbench.methods.info import MethodInfo
from diadbench.version import __version__

#: Packages that contain methods; their versions count for code that imports them.
METHOD_PACKAGES = ("anomalib",)
#: Version of the option checks. Raise it when they change, so that remembered results are not reused.
CHECKED_BY = "typed and made 2"


@dataclass(frozen=True)
class ResolvedMethod:
    """A method with all its options.

    Attributes:
        identity: The registered name, ``anomalib:Model``, ``module:Class``, or the class in a user's file. An entry
            point has the identity of its target.
        options: Every keyword argument, defaults included, as plain values.
        info: :class:`~diadbench.methods.info.MethodInfo` as a dict.
        code: Digests of the files of a method that isn't the project's own, by module.
        packages: Versions of the installed packages that implement the method.
        earlier: The identity that earlier versions of this program used.
    """

    identity: str
    options: dict[str, Any]
    info: dict[str, Any]
    code: dict[str, str] = field(default_factory=dict)
    packages: dict[str, str] = field(default_factory=dict)
    earlier: str = ""


def resolve_method(name: str, options: dict[str, Any], where: str = "") -> ResolvedMethod:
    """Return the method's complete options, and the identity of its code.

    Raises:
        UserError: Unknown method, unknown option, or a value of a wrong type.
        Skip: The method can't run here.
    """
    code = code_behind(name)
    digests = code.digests()
    packages = {package: version_of(package) or "missing" for package in _packages(name, code)}
    found = _remembered(name, options, where, code, [digests, packages, _own_source(), __version__])
    if code.unresolved:
        digests |= _found_by_import(code.unresolved)
    own = {package: version_of(package) or "missing" for package in found["info"].get("packages", ())}
    return ResolvedMethod(
        identity=_canonical(name),
        options=found["options"],
        info=found["info"],
        code=digests | _versions(code.ours),
        packages=packages | own,
        earlier=_earlier(name),
    )


def _remembered(name: str, options: dict[str, Any], where: str, code: Code, source: list[Any]) -> dict[str, Any]:
    """Return options and info from the cache directory, or from the class."""
    # repr, because the spelling of a number counts: a class may be named 1e3
    key = hashlib.sha256(json.dumps([CHECKED_BY, name, repr(options), source], sort_keys=True, default=str).encode())
    memo = cache_dir() / "resolved" / f"{key.hexdigest()[:32]}.json"
    # Code that is only found by execution may change the options without being noticed.
    keep = not code.unresolved and (bool(code.files) or name in registry.TABLE or name.startswith("anomalib:"))
    found: dict[str, Any] | None = read_json(memo) if keep else None
    if found is None:
        _read_again(code)
        found = _resolve(name, options, where)
        if keep:
            write_json(memo, found)
    return found


def checked_options(cls: type, options: dict[str, Any], where: str = "") -> dict[str, Any]:
    """Return all keyword arguments of ``cls`` with ``options`` laid over the defaults, as plain values.

    Raises UserError for unknown names (with "did you mean") and for wrong types.
    """
    return checked_arguments(cls, options, where)


def _resolve(name: str, options: dict[str, Any], where: str) -> dict[str, Any]:
    cls = methods.get_class(name)
    info = getattr(cls, "info", None)
    if not isinstance(info, MethodInfo) or not callable(getattr(cls, "fit", None)):
        raise UserError(
            f"{where or name}: {cls.__name__} is no method; it needs `info` (a MethodInfo), fit, predict, save and load"
        )
    where = where or f"method {name!r}"
    checked = checked_options(cls, options, where)
    check = getattr(cls, "check_options", None)  # a user's class need not be a Method
    try:
        if check is not None:
            check(checked)
        _make(cls, checked)
    except UserError as error:
        raise type(error)(f"{where}: {error}") from error
    return {"options": checked, "info": asdict(info)}


def _make(cls: Any, options: dict[str, Any]) -> None:
    """Create a method object, which does no work, so that errors of its constructor are reported before any cell runs.

    Other exceptions are faults of the method itself; its cells then end with the traceback.
    """
    try:
        cls(**options)
    except UserError:
        raise
    except Exception:
        return


def _is_known(name: str) -> bool:
    return name in registry.TABLE or name.startswith("anomalib:")


def code_behind(name: str) -> Code:
    """Return the code of a method that isn't the project's own; nothing for the project's, which have versions."""
    if _is_known(name):
        return Code()
    target = target_of(name, registry.TABLE, registry.GROUP)
    place = target.rpartition(":")[0]
    if target in registry.TABLE.values() or not place:
        return Code()
    return code_of_file(Path(place).expanduser()) if place.endswith(".py") else code_of_module(place)


def _canonical(name: str) -> str:
    """Return the same name for the same method, in whatever way a grid names it."""
    if _is_known(name):
        return name
    target = target_of(name, registry.TABLE, registry.GROUP)
    registered = next((known for known, entry in registry.TABLE.items() if entry == target), None)
    place, _, cls = target.rpartition(":")
    return registered or (cls if place.endswith(".py") else target)


def _packages(name: str, code: Code) -> tuple[str, ...]:
    """Return the packages that implement the method, as far as they are known without importing it."""
    if name in CATALOG:
        return CATALOG[name].info.packages
    bridged = name.startswith("anomalib:") or any(ours.startswith("diadbench.methods.anomalib_") for ours in code.ours)
    brought = {package for base in _methods_in(code.ours) for package in CATALOG[base].info.packages}
    used = code.installed | brought | ({"anomalib"} if bridged else set())
    return tuple(package for package in METHOD_PACKAGES if package in used)


def _methods_in(modules: Iterable[str]) -> list[str]:
    """Return the project's methods that are defined in these modules or packages."""
    places = {".".join(module.split(".")[:3]) for module in modules}
    return [name for name, target in registry.TABLE.items() if ".".join(target.split(":")[0].split(".")[:3]) in places]


def _versions(modules: Iterable[str]) -> dict[str, str]:
    """Return the versions of the project's methods that a user's code is built on."""
    return {f"diadbench {name}": f"version {CATALOG[name].info.version}" for name in _methods_in(modules)}


#: Digests of files when this process first imported them.
_IMPORTED: dict[Path, str] = {}


def _read_again(code: Code) -> None:
    """Re-import files that have changed since this process imported them, since notebooks run for a long time."""
    now = {path: meaning(path) for path in code.files.values()}
    if any(_IMPORTED.get(path, digest) != digest for path, digest in now.items()):
        forget(code.files.values())
    _IMPORTED.update(now)


def _found_by_import(names: Iterable[str]) -> dict[str, str]:
    """Return digests of modules that only the execution of a user's file could find, and of their imports."""
    found: dict[str, str] = {}
    for name in names:
        place = getattr(sys.modules.get(name), "__file__", None)
        if place is not None:
            digests = code_of_file(Path(place)).digests()
            found |= {name if key == MAIN else key: value for key, value in digests.items()}
    return found


def _earlier(name: str) -> str:
    """Return the identity that earlier versions of this program gave a method."""
    if ".py:" not in name:
        return name
    path = Path(name.rpartition(":")[0]).expanduser()
    source = hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else ""
    return f"{name.rpartition(':')[2]}@{source}"


@cache
def _own_source() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(methods.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
