"""The command line. Each command is a module here, imported when it is asked for."""

from __future__ import annotations


def main() -> None:
    """Entry point of ``diadbench``."""
