"""Make pictures of every artefact of a report: sheets, PDF pages, the web page, plots. Needs RUN; builds its report."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

PLOTS = ("bars", "ranks", "heatmap", "pareto", "curves", "histograms", "training", "qualitative")


def tool(*names: str) -> str:
    """Return the first program of ``names`` that is installed; say so and return "" when none is."""
    found = next((path for path in map(shutil.which, names) if path), "")
    if not found:
        print(f"left out: none of {', '.join(names)} is installed", file=sys.stderr)
    return found


def call(words: list[str], folder: Path) -> None:
    """Run a program in ``folder``; its output is shown only when it fails."""
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: exit {done.returncode}\n{done.stdout[-1500:]}{done.stderr[-1500:]}")


def pages(pdf: Path, out: Path, name: str) -> None:
    """Write a PDF's first pages (at most four) as ``<name>-<page>.png``."""
    program = tool("pdftoppm")
    if program:
        for old in out.glob(f"{name}-*.png"):
            old.unlink()
        call([program, "-png", "-r", "70", "-l", "4", str(pdf), str(out / name)], pdf.parent)
        for made in out.glob(f"{name}-*.png"):  # as many digits as the PDF's last page has
            made.rename(out / f"{name}-{int(made.stem.rpartition('-')[2])}.png")


def workbook(report: Path, out: Path, scratch: Path) -> None:
    """Picture the workbook's sheets, as LibreOffice prints them."""
    program = tool("soffice", "libreoffice")
    if program:
        profile = f"-env:UserInstallation={(scratch / 'office').as_uri()}"
        source = str(report / "results.xlsx")
        call([program, profile, "--headless", "--convert-to", "pdf", "--outdir", str(scratch), source], scratch)
        pages(scratch / "results.pdf", out, "sheet")


def paper(report: Path, out: Path, scratch: Path) -> None:
    """Picture the pages of ``main.tex``."""
    program = tool("pdflatex")
    if program:
        shutil.copytree(report, scratch / "paper", ignore=shutil.ignore_patterns("figures", "*.html", "*.xlsx"))
        for _ in range(2):
            call([program, "-interaction=nonstopmode", "-halt-on-error", "main.tex"], scratch / "paper")
        pages(scratch / "paper" / "main.pdf", out, "paper")


def web(report: Path, out: Path, scratch: Path) -> None:
    """Picture the page on a desk and on a phone."""
    program = tool("chromium", "chromium-browser", "google-chrome")
    for name, size in (("page", "1280,1600"), ("page-phone", "500,1000")) if program else ():
        call(
            [program, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={scratch / 'web'}",
             "--hide-scrollbars", f"--window-size={size}", f"--screenshot={out / name}.png",
             (report / "index.html").as_uri()], scratch
        )  # fmt: skip


def plots(report: Path, out: Path) -> None:
    """Copy one plot of each kind."""
    for kind in PLOTS:
        found = sorted((report / "figures").glob(f"{kind}*.png"), key=lambda path: path.stat().st_size)
        if found:
            shutil.copyfile(found[-1], out / f"plot-{kind}.png")  # the one that shows most


def shrink(out: Path) -> None:
    """Keep 128 colours of each picture, so that a repository can hold them."""
    made = [path for name in ("page", "paper-", "plot-", "sheet-") for path in out.glob(f"{name}*.png")]
    for path in made:
        with Image.open(path) as picture:
            small = picture.convert("RGB").quantize(128)
        small.save(path, optimize=True)


def main() -> None:
    """Read the options and make all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="run directory")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "pictures")
    options = parser.parse_args()
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        report = scratch / "report"
        call([sys.executable, "-m", "diadbench", "report", str(options.run.resolve()), "--out", str(report)], scratch)
        plots(report, out)
        paper(report, out, scratch)
        workbook(report, out, scratch)
        web(report, out, scratch)
    shrink(out)
    print(f"{len(list(out.glob('*.png')))} pictures in {out}")


if __name__ == "__main__":
    main()
