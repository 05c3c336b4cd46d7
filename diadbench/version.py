"""The version of the installed distribution, which the build derives from the git tag."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("diadbench")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"
