"""UTF-8 independent of the locale: names of files, program output, users' texts."""

from __future__ import annotations

import codecs
import os
import sys
from pathlib import Path

from diadbench.common.errors import UserError


def start_again_in_utf8_mode() -> None:
    """Restart this program in Python's UTF-8 mode if the locale uses another encoding for file names.

    Names of files are then UTF-8, as on nearly all disks, and so is every text that a library opens. Output keeps the
    locale's encoding, unless that is ASCII (``LC_ALL=C``, cron, bare containers).
    """
    if codecs.lookup(sys.getfilesystemencoding()).name == "utf-8" or sys.flags.utf8_mode:
        return
    printed = codecs.lookup(sys.stdout.encoding).name if sys.stdout is not None else "ascii"
    if printed != "ascii":
        os.environ.setdefault("PYTHONIOENCODING", f"{printed}:backslashreplace")
    os.environ["PYTHONUTF8"] = "1"
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def print_what_can_be_printed() -> None:
    """Print characters that a terminal's encoding lacks as ``\\u74f6`` instead of ending the program."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # Streams of tests and notebooks may lack it.
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def read_user_text(path: Path) -> str:
    """Return the text of a user's file, without a byte-order mark at its start.

    Raises:
        UserError: It isn't UTF-8.
    """
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        fault = f"line {line} has the byte 0x{data[error.start]:02x}"
        raise UserError(f"{path}: expected UTF-8, {fault}; save the file as UTF-8") from error


def told_of_encoding(error: UnicodeEncodeError) -> str:
    """Return the message for a name on disk or the command line that isn't UTF-8 and so can't be written."""
    text = error.object
    line = text[text.rfind("\n", 0, error.start) + 1 :].partition("\n")[0].strip(' \t",')
    name = line.encode("utf-8", "backslashreplace").decode("utf-8")
    return f"a name isn't UTF-8: {name[:300]}; rename the file or folder"
