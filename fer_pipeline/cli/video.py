"""`fer video`: follow the emotions of people through videos."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from fer_pipeline.cli.options import (
    Detector,
    Model,
    Threshold,
    chosen_recognizer,
    counted,
    errors,
    labelled,
    neutral_reference,
    results,
)
from fer_pipeline.errors import ParamsError, VideoError

if TYPE_CHECKING:  # OpenCV, onnxruntime and PyAV are loaded by the command, not by `fer --help`
    from fer_pipeline.inference.neutral.reference import NeutralReference
    from fer_pipeline.inference.video.analysis import VideoProgress, VideoSummary

_AUTO = "auto"  # of --neutral


def video(
    files: Annotated[
        list[Path], typer.Argument(help="Videos: MP4, MOV, MKV, WebM, AVI and more.", metavar="FILES...", readable=False)
    ],
    out: Annotated[Path, typer.Option(help="Folder for the results; each video gets a folder of its name in it.")],
    annotated: Annotated[bool, typer.Option(help="Write the video with the faces drawn in.")] = True,
    detect_every: Annotated[int, typer.Option(help="Search each n-th frame for faces, and follow them between.", min=1)] = 8,
    detection_side: Annotated[int, typer.Option(help="Longer side in pixels of the copy that is searched.", min=32)] = 320,
    temporal: Annotated[
        str,
        typer.Option(
            help="How the emotions of a person are joined over time: hmm (hidden Markov model), smooth (moving mean: right less "
            "often) or none. Those of single frames are in the tables always."
        ),
    ] = "hmm",
    smoothing: Annotated[
        float | None, typer.Option(help="smooth: time constant of the mean in seconds, 0.5 where left out; 0: none.", min=0)
    ] = None,
    dwell: Annotated[
        float | None, typer.Option(help="hmm: how long an expression lasts in the mean, in seconds, 2 where left out.")
    ] = None,
    model: Model = None,
    detector: Detector = None,
    threshold: Threshold = 0.4,
    neutral: Annotated[
        list[str] | None,
        typer.Option(
            help="Picture of the person without an expression, one face, relative to which all people are read; may be given "
            "several times. Or auto: each person relative to the own face at rest, estimated of those who are seen for 10 s; "
            "the video is then read twice.",
            metavar="FILE|auto",
        ),
    ] = None,
    neutral_tau: Annotated[
        float | None,
        typer.Option(help="--neutral: nats by which neutral becomes likelier; left out .75, with auto 1.5.", min=0),
    ] = None,
) -> None:
    """Follow the emotions of each person through videos.

    It writes tables, subtitles, the annotated video and a report page.

    Faces of less than about 5 % of the longer side (haar: 8 %) are not found at --detection-side 320; 640 finds faces half as
    large in about four times the time.

    Results are written aside and take the place of earlier ones when they are whole. Ctrl-C ends with those up to there, all
    files readable, the report too; finished ones of an earlier run stay instead. A run that was killed changes nothing. The same
    command again skips the videos that are finished, and begins any other one anew from its first frame.

    Example: `fer video talk.mp4 --out results`
    """
    from fer_pipeline.inference.neutral.resting import TRACK_TAU
    from fer_pipeline.inference.smoothing import TEMPORAL_MODES, time_constants
    from fer_pipeline.inference.video.analysis import VideoOptions, analyse
    from fer_pipeline.inference.video.results import has_finished_results

    if temporal not in TEMPORAL_MODES:
        raise ParamsError(f"--temporal is {temporal}, expected one of {', '.join(TEMPORAL_MODES)}")
    for option, value, mode in (("--smoothing", smoothing, "smooth"), ("--dwell", dwell, "hmm")):
        if value is not None and temporal != mode:
            raise ParamsError(f"{option} is {value}, which only --temporal {mode} reads: add that, or leave it out")
    seconds, dwelling = time_constants(temporal)
    folders: dict[str, Path] = {}
    for file in files:
        if file.stem in folders:
            raise ParamsError(
                f"{folders[file.stem]} and {file} would share the folder {out / file.stem}: give them different --out"
            )
        folders[file.stem] = file
    if neutral_tau is not None and not neutral:
        raise ParamsError(f"--neutral-tau is {neutral_tau}, which only --neutral reads: add that, or leave it out")
    if neutral and _AUTO in neutral and len(neutral) > 1:
        raise ParamsError(f"--neutral is {' and '.join(neutral)}: give auto alone, or pictures (a file of that name is ./auto)")
    recognizer = chosen_recognizer(model, detector, threshold)
    reference: NeutralReference | Literal["auto"] | None = None
    if neutral:
        reference = "auto" if neutral == [_AUTO] else neutral_reference(recognizer, [Path(one) for one in neutral], neutral_tau)
    options = VideoOptions(
        detect_every=detect_every,
        detection_side=detection_side,
        smoothing_seconds=seconds if smoothing is None else smoothing,
        dwell_seconds=dwelling if dwell is None else dwell,
        annotate=annotated,
        neutral=reference,
        neutral_tau=TRACK_TAU if neutral_tau is None else neutral_tau,
    )
    if not _has_parquet():
        errors.print(
            labelled("note:", "yellow", "faces.parquet is left out, it needs pyarrow: `pip install 'fer-pipeline[tables]'`")
        )
    bad = 0
    with _ctrl_c() as cancelled:
        for file in files:
            folder = out / file.stem
            try:
                with _bar(file.name) as advance:
                    summary = analyse(
                        file,
                        recognizer,
                        folder,
                        options=options,
                        on_progress=advance,
                        cancelled=cancelled,
                        finish=_tables_and_page,
                    )
                    if summary.skipped and not _is_whole(folder):
                        _tables_and_page(folder, summary)
            except VideoError as error:
                errors.print(labelled("error:", "bold red", str(error)))
                bad += 1
                continue
            if not summary.complete and has_finished_results(folder):
                kept = (
                    f"{folder} holds the finished results of an earlier run still; those of this one, up to "
                    f"{summary.seconds:.1f} s, were dropped: give another --out to have both"
                )
                errors.print(labelled("stopped.", "bold red", kept))
                raise typer.Exit(130)
            _tell(summary, folder)
            if cancelled.is_set():
                written = f"{folder} holds the results up to {summary.seconds:.1f} s, all files readable"
                errors.print(labelled("stopped.", "bold red", written))
                raise typer.Exit(130)
    if bad:
        errors.print(f"{bad} of {counted(len(files), 'video')} could not be read")
        raise typer.Exit(VideoError.exit_code)


@contextmanager
def _ctrl_c() -> Iterator[threading.Event]:
    """Yield an event that the first Ctrl-C sets; a second one ends the process."""
    asked = threading.Event()

    def ask(*_: object) -> None:
        asked.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _bar(name: str) -> Iterator[Any]:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[words]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=errors) as progress:
        task = progress.add_task(name, total=None, words="")

        def advance(done: VideoProgress) -> None:
            words = f"{counted(done.frames, 'frame')}, {counted(done.faces, 'face')}"
            progress.update(task, total=done.duration, completed=done.seconds, words=words)

        yield advance


def _has_parquet() -> bool:
    return find_spec("pyarrow") is not None


def _is_whole(folder: Path) -> bool:
    """Whether page and table are there: results that came from Python lack both."""
    from fer_pipeline.inference.video.writers import PARQUET_FILE
    from fer_pipeline.workspace.files import REPORT_FILE

    return all((folder / name).is_file() for name in (REPORT_FILE, *([PARQUET_FILE] if _has_parquet() else [])))


def _tables_and_page(folder: Path, summary: VideoSummary) -> None:
    from fer_pipeline.inference.video.report import write_report

    if _has_parquet():
        from fer_pipeline.inference.video.table import write_table

        write_table(folder)
    write_report(folder, summary)


def _tell(summary: VideoSummary, folder: Path) -> None:
    from fer_pipeline.workspace.files import REPORT_FILE

    if summary.skipped:
        results.print(Text.assemble((summary.source, "bold"), f": finished before, skipped; results in {folder}"))
        return
    people = summary.people
    found = (
        f": {counted(summary.frames, 'frame')}, {counted(summary.faces, 'face')}, {counted(len(people), 'person', 'people')}; "
        f"report: {folder / REPORT_FILE}"
    )
    results.print(Text.assemble((summary.source, "bold"), found))
    for person in people:
        shares = ", ".join(
            f"{label} {100 * share:.0f} %" for label, share in sorted(person.shares.items(), key=lambda x: -x[1])[:3]
        )
        results.print(f"  person {person.track}: seen {person.seen:.1f} s; {shares}")
    for note in summary.notes:
        results.print(labelled("  note:", "yellow", note))
