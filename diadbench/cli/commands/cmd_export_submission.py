"""``diadbench export-submission``."""

from __future__ import annotations


def command(
    run: str, *, method: str = "", rule: str = "3sigma", out: str | None = None, check: str | None = None
) -> int:
    """Write the archive that the server of MVTec AD 2 takes, and check it as its script does.

    Maps of both private test sets as float16 TIFF, and as thresholded PNG; thresholds are set on each object's
    validation images. No metric is computed: the labels are the server's alone.

    Args:
        run: A run directory with a finished cell on mvtec_ad_2, or the directory of that cell; with --check the
            root of the data set.
        method: Which method's cell, where the run has several.
        rule: Threshold: 3sigma (mean + 3 standard deviations of the validation images' pixels), q0.99 and the like.
        out: Directory for archive, folder, scores and notes; `submission` in the cell's directory by default.
        check: Check this folder or .tar.gz, against the data set that RUN is then the root of, and write nothing.

    Example::

        diadbench export-submission runs/ad2 --method patchcore
        diadbench export-submission data/mvtec_ad_2 --check my-submission.tar.gz
    """
    from pathlib import Path

    from diadbench.benchmark.reuse.submission import check_archive, export_submission
    from diadbench.benchmark.runs.watch import Watch

    if check is not None:
        for note in check_archive(Path(check), Path(run)):
            print(note)
        return 0
    with Watch() as watch:
        target = Path(out) if out else None
        archive, notes = export_submission(Path(run), method=method, rule=rule, out=target, progress=watch.step)
    for note in notes:
        print(f"note: {note}")
    print(f"archive: {archive}")
    return 0
