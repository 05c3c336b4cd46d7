"""The addresses of the published datasets, from ``datasets/facts/downloads.yaml``."""

from __future__ import annotations

import functools
import importlib.resources
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml


@dataclass(frozen=True)
class RemoteFile:
    """One archive on its owner's server.

    Attributes:
        url: Its address.
        size: Size in bytes; ``None`` if it isn't stated.
        sha256: Checksum in lower-case hexadecimal; ``""`` if unknown.
        verified: How address, size and checksum were verified.
    """

    url: str
    size: int | None = None
    sha256: str = ""
    verified: str = ""

    @property
    def name(self) -> str:
        """Name of the file, the last part of its address."""
        return unquote(urlsplit(self.url).path).rpartition("/")[2] or "archive"

    @property
    def host(self) -> str:
        """Return the server's name."""
        return urlsplit(self.url).netloc


@dataclass(frozen=True)
class Source:
    """The source of a dataset.

    Attributes:
        page: The owner's page.
        files: Archives with a direct link; empty if the owner requires a form or an account.
        how: What to do on the page, if there is no direct link.
    """

    page: str
    files: tuple[RemoteFile, ...] = ()
    how: str = ""

    @property
    def size(self) -> int | None:
        """Return the size of all files in bytes, or ``None`` if one of them is unknown."""
        known = [file.size for file in self.files if file.size is not None]
        return sum(known) if len(known) == len(self.files) else None


@functools.cache
def sources() -> dict[str, Source]:
    """Return the source of each dataset that has one."""
    text = (importlib.resources.files("diadbench.datasets.facts") / "downloads.yaml").read_text(encoding="utf-8")
    loaded: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return {name: _source(entry) for name, entry in loaded.items()}


def _source(entry: dict[str, Any]) -> Source:
    files = tuple(RemoteFile(**file) for file in entry.get("files", ()))
    return Source(entry["page"], files, entry.get("how", ""))
