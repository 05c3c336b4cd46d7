"""LibreOffice opens the workbook as it is: what it saves again holds the same figures and texts, and it prints."""

from __future__ import annotations

import math
import shutil
import subprocess
from pathlib import Path

import pytest
from openpyxl import load_workbook

SOFFICE = next(filter(None, map(shutil.which, ("soffice", "libreoffice"))), "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SOFFICE, reason="LibreOffice isn't installed (apt install libreoffice-calc)"),
]


def _converted(book: Path, kind: str, folder: Path) -> Path:
    """Let LibreOffice convert the workbook, with a profile of its own."""
    profile = f"-env:UserInstallation={(folder / 'profile').as_uri()}"
    done = subprocess.run(
        [SOFFICE, profile, "--headless", "--convert-to", kind, "--outdir", str(folder / kind), str(book)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-1000:]
    assert "repair" not in (done.stdout + done.stderr).lower()
    return folder / kind / f"{book.stem}.{kind}"


def test_every_figure_and_text_survives(report: dict[str, Path], tmp_path: Path) -> None:
    before = load_workbook(report["results.xlsx"])
    after = load_workbook(_converted(report["results.xlsx"], "xlsx", tmp_path))
    assert after.sheetnames == before.sheetnames
    figures = 0
    for sheet in before:
        other = after[sheet.title]
        assert len(other._charts) == len(sheet._charts), sheet.title
        assert other.auto_filter.ref == sheet.auto_filter.ref
        for line in sheet.iter_rows():
            for cell in line:
                read = other[cell.coordinate]
                where = f"{sheet.title}!{cell.coordinate}"
                if isinstance(cell.value, (int, float)):
                    assert math.isclose(read.value, cell.value, rel_tol=1e-12), where
                    assert read.number_format.replace("\\", "") == cell.number_format, where
                    assert (bool(read.font.b), read.font.u) == (bool(cell.font.b), cell.font.u), where
                    figures += 1
                else:
                    assert (read.value or "") == (cell.value or ""), where
                    assert read.data_type != "f", where
    assert figures > 2000


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="pdftotext isn't installed (apt install poppler-utils)")
def test_it_prints(report: dict[str, Path], tmp_path: Path) -> None:
    pdf = _converted(report["results.xlsx"], "pdf", tmp_path)
    text = subprocess.run(["pdftotext", "-layout", str(pdf), "-"], capture_output=True, text=True, check=True).stdout
    pages = text.rstrip("\f").split("\f")
    assert all(page.strip() for page in pages)  # no empty page
    best = load_workbook(report["results.xlsx"])["Summary"]["C5"].value
    (line,) = [line for line in pages[0].splitlines() if line.split()[:1] == ["DiAD"]][:1]
    assert f"{best:.1f}" in line.split()
    assert "Err:" not in text
    assert "#NAME" not in text
