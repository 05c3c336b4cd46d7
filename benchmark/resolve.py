"""Resolve a method's options against its signature, and remember the answer.

To know an option's default the method's class must be imported, and with it torch. ``run`` with nothing to do
and ``--dry-run`` should not pay for that, so the answer is kept in the cache directory under a hash of all that
it depends on: the options and the source.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import inspect
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from diadbench import methods
from diadbench.common.errors import UserError, unknown_name
from diadbench.common.files import cache_dir, read_json, write_json
from diadbench.common.wording import type_error
from diadbench.methods import registry
from diadbench.version import __version__


@dataclass(frozen=True)
class ResolvedMethod:
    """A method with all its options.

    Attributes:
        identity: What decides which code runs: the registered name, or the class and its file's digest.
        options: Every keyword argument, defaults included, as plain values.
        info: :class:`~diadbench.methods.info.MethodInfo` as a dict.
    """

    identity: str
    options: dict[str, Any]
    info: dict[str, Any]


def resolve_method(name: str, options: dict[str, Any], where: str = "") -> ResolvedMethod:
    """Return the method's complete options.

    Raises:
        UserError: Unknown method, unknown option, or a value of a wrong type.
        Skip: The method can't run here.
    """
    source = _source(name)
    key = hashlib.sha256(json.dumps([name, options, source, __version__], sort_keys=True, default=str).encode())
    memo = cache_dir() / "resolved" / f"{key.hexdigest()[:32]}.json"
    found = read_json(memo) if source else None
    if found is None:
        found = _resolve(name, options, where)
        if source:
            write_json(memo, found)
    return ResolvedMethod(_identity(name, source), found["options"], found["info"])


def checked_options(cls: type, options: dict[str, Any], where: str = "") -> dict[str, Any]:
    """Return all keyword arguments of ``cls`` with ``options`` laid over the defaults, as plain values.

    Raises UserError for unknown names (with "did you mean") and for wrong types.
    """
    from jsonargparse import ArgumentParser

    known = inspect.signature(cls).parameters
    open_ended = any(entry.kind is entry.VAR_KEYWORD for entry in known.values())
    named = {key for key, entry in known.items() if entry.kind not in (entry.VAR_KEYWORD, entry.VAR_POSITIONAL)}
    extra = {key: value for key, value in options.items() if key not in named}
    if extra and not open_ended:
        raise unknown_name("option", next(iter(extra)), named, where=where)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(cls, fail_untyped=False, skip=set(extra))
    try:
        parsed = parser.parse_object({key: value for key, value in options.items() if key in named})
        plain: dict[str, Any] = yaml.safe_load(parser.dump(parsed, skip_none=False)) or {}
    except Exception as error:
        raise UserError(f"{where}: {type_error(error)}") from error
    return {**plain, **extra}


def _resolve(name: str, options: dict[str, Any], where: str) -> dict[str, Any]:
    cls = methods.get_class(name)
    info = getattr(cls, "info", None)
    if info is None or not callable(getattr(cls, "fit", None)):
        raise UserError(f"{where or name}: {cls.__name__} is no method; it needs `info`, fit, predict, save and load")
    where = where or f"method {name!r}"
    checked = checked_options(cls, options, where)
    check = getattr(cls, "check_options", None)  # a user's class need not be a Method
    if check is not None:
        try:
            check(checked)
        except UserError as error:
            raise type(error)(f"{where}: {error}") from error
    return {"options": checked, "info": asdict(info)}


def _identity(name: str, source: str) -> str:
    if ".py:" in name:
        return f"{name.rpartition(':')[2]}@{source}"
    return name


def _source(name: str) -> str:
    """Digest of the code that decides what options there are; ``""`` when it can't be told without importing."""
    if ".py:" in name:
        path = Path(name.rpartition(":")[0]).expanduser()
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else ""
    if name in registry.TABLE:
        return _own_source()
    if name.startswith("anomalib:"):
        return f"{_own_source()}-anomalib-{importlib.metadata.version('anomalib')}"
    return ""


def _own_source() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(methods.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
