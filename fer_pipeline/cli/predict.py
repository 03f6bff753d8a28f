"""`fer predict` and `fer score`: the emotions of faces in pictures."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, NoReturn

import typer
from rich.text import Text

from fer_pipeline.cli.options import (
    Detector,
    Model,
    NeutralTau,
    Threshold,
    chosen_model,
    chosen_recognizer,
    counted,
    errors,
    labelled,
    neutral_reference,
    results,
)
from fer_pipeline.errors import ImageError, ParamsError
from fer_pipeline.workspace.locks import exclusive
from fer_pipeline.workspace.names import cell

if TYPE_CHECKING:  # OpenCV and onnxruntime are loaded by the command, not by `fer --help`
    from fer_pipeline.inference.face_emotion import FaceEmotion
    from fer_pipeline.inference.neutral.reference import NeutralReference
    from fer_pipeline.inference.pictures.recognition import Picture
    from fer_pipeline.inference.pictures.sources import PictureSource
    from fer_pipeline.inference.recognizer import Recognizer
    from fer_pipeline.model_info import ModelInfo

_PICTURES_AT_ONCE = 8
_NOT_ZERO = 0.005  # what rounds to 0 % is not worth saying
_NAME_BYTES = 255


def predict(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Pictures, and folders of them: JPEG, PNG, WebP, AVIF, GIF, TIFF, BMP, and HEIC with the package "
            "pillow-heif; the first frame of several.",
            metavar="FILES...",
            readable=False,
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per picture and line.")] = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="One CSV row per face, and one for a picture without; odd names are escaped.")
    ] = False,
    annotate: Annotated[
        Path | None, typer.Option(help="Folder for copies with the faces drawn in; those of a folder lie as in it.")
    ] = None,
    model: Model = None,
    detector: Detector = None,
    threshold: Threshold = 0.4,
    neutral: Annotated[
        list[Path] | None,
        typer.Option(
            help="Picture of the same person without an expression, one face; may be given several times. All faces are read "
            "relative to it, so give pictures of that person alone.",
            metavar="FILE",
        ),
    ] = None,
    neutral_tau: NeutralTau = None,
) -> None:
    """Name the emotions of all faces in pictures.

    A file that cannot be read is named on stderr, and has its `error` in --json and --csv; then the exit code is 5. The fields of
    both are in docs/outputs.md.

    Example: `fer predict holiday --csv > faces.csv`
    """
    if as_json and as_csv:
        raise ParamsError("--json and --csv were both given: choose one")
    if neutral_tau is not None and not neutral:
        raise ParamsError(f"--neutral-tau is {neutral_tau}, which only --neutral FILE reads: add that, or leave it out")
    given = [one for file in files for one in _files(file)]
    if annotate is not None:
        _prepare(annotate, given)
    recognizer = chosen_recognizer(model, detector, threshold)
    reference = neutral_reference(recognizer, neutral, neutral_tau) if neutral else None
    show = (_JsonLines if as_json else _CsvRows if as_csv else _Words)(recognizer.info)
    bad = 0
    for start in range(0, len(given), _PICTURES_AT_ONCE):
        bad += _predict(given[start : start + _PICTURES_AT_ONCE], recognizer, show, annotate, reference)
    if bad:
        errors.print(f"{bad} of {counted(len(given), 'picture')} could not be read")
        raise typer.Exit(ImageError.exit_code)


class _File(NamedTuple):
    """A picture, how it is read, and where its drawn copy lies in --annotate."""

    source: PictureSource
    drawn: Path


def _files(path: Path) -> Iterator[_File]:
    """Yield a picture, or those of a folder.

    A folder without any is one that cannot be read.
    """
    from fer_pipeline.inference.pictures.sources import PictureSource, pictures_in, read_file

    def one(file: Path, inside: Path) -> _File:
        return _File(PictureSource(str(file), partial(read_file, file, partial(_note, file))), inside / _drawn_name(file))

    def refuse(fault: ImageError) -> NoReturn:
        raise fault

    try:
        folder = path.is_dir()
    except OSError:  # reading it says why
        folder = False
    if not folder:
        yield one(path, Path())
        return
    try:
        pictures = pictures_in(path)
    except ImageError as error:
        yield _File(PictureSource(str(path), partial(refuse, error)), Path(_drawn_name(path)))
        return
    for file in pictures:
        yield one(file, file.relative_to(path).parent)


def _predict(
    files: list[_File],
    recognizer: Recognizer,
    show: _Words | _JsonLines | _CsvRows,
    annotate: Path | None,
    reference: NeutralReference | None,
) -> int:
    from fer_pipeline.imaging import encode_png

    bad = 0
    sources = [file.source for file in files]
    for file, picture in zip(files, recognizer.recognize_sources(sources, keep=True, neutral=reference), strict=True):
        show(picture)
        if reference is not None and len(picture.faces) > 1:
            _note(
                Path(str(picture.file)),
                f"{len(picture.faces)} faces, each read relative to the neutral face, which is of one person",
            )
        if picture.error is not None:
            errors.print(labelled("error:", "bold red", f"{picture.file}: {picture.error}"))
            bad += 1
        elif annotate is not None:
            (annotate / file.drawn).parent.mkdir(parents=True, exist_ok=True)
            (annotate / file.drawn).write_bytes(encode_png(picture.annotated()))
    return bad


def _note(file: Path, text: str) -> None:
    errors.print(labelled("note:", "yellow", f"{file}: {text}"))


def _drawn_name(file: Path) -> str:
    """Return NAME.png, shortened to what a file system takes."""
    name = f"{file.name}.png"
    if len(os.fsencode(name)) <= _NAME_BYTES:
        return name
    digest = hashlib.sha256(os.fsencode(file.name)).hexdigest()[:8]
    end = f"-{digest}.png"
    return os.fsencode(file.name)[: _NAME_BYTES - len(end)].decode(errors="ignore") + end


def _prepare(annotate: Path, files: list[_File]) -> None:
    named: dict[Path, str | None] = {}
    for file in files:
        other = named.setdefault(file.drawn, file.source.file)
        if other != file.source.file:
            raise ParamsError(
                f"{other} and {file.source.file} would both be drawn into {annotate / file.drawn}: call twice, with two folders"
            )
    try:
        annotate.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ParamsError(f"--annotate is {annotate}, which is no folder that can be made: {error.strerror}") from error


class _Words:
    def __init__(self, info: ModelInfo) -> None:
        self._origin = ", by a model of drawn faces" if info.synthetic else ""

    def __call__(self, picture: Picture) -> None:
        if picture.error is not None:  # it is named on stderr
            return
        count = counted(len(picture.faces), "face") if picture.faces else "no face found"
        turn = f", picture turned by {picture.faces[0].rotation} degrees" if picture.faces and picture.faces[0].rotation else ""
        own = ", relative to the neutral face" if picture.faces and picture.faces[0].neutral_reference else ""
        results.print(Text.assemble((str(picture.file), "bold"), f": {count}{turn}{own}{self._origin}"))
        for number, face in enumerate(picture.faces, 1):
            results.print(Text.assemble(f"  {number}  ", *_words(face)))


def _words(face: FaceEmotion) -> list[str | tuple[str, str]]:
    """Return a line about one face, in which each thing is said once."""
    first, *others = [f"{name} {100 * p:.0f} %" for name, p in face.ranked[:3] if p >= _NOT_ZERO]
    if face.emotion == face.top_emotion:
        said: list[str | tuple[str, str]] = [(first, "bold"), *(f", {other}" for other in others)]
    else:
        said = [(face.emotion, "bold"), f": {', '.join((first, *others))}"]
    doubts = [reason.replace("_", " ") for reason in face.reasons if reason != "low_confidence"]  # that is what uncertain says
    if doubts:
        said.append((f" ({', '.join(doubts)})", "yellow"))
    if face.box is not None:
        x, y, width, height = face.box
        said.append(f"  at {x:.0f},{y:.0f} size {width:.0f}x{height:.0f}")
    return said


class _JsonLines:
    def __init__(self, info: ModelInfo) -> None:
        self._info = info

    def __call__(self, picture: Picture) -> None:
        typer.echo(json.dumps(picture.as_dict(self._info)))


class _CsvRows:
    def __init__(self, info: ModelInfo) -> None:
        from fer_pipeline.inference.pictures.face_table import PICTURE_COLUMNS

        self._info = info
        # Texts are quoted: a spreadsheet that splits at semicolons finds no cell within a name.
        self._writer = csv.DictWriter(sys.stdout, PICTURE_COLUMNS, quoting=csv.QUOTE_NONNUMERIC)
        self._writer.writeheader()

    def __call__(self, picture: Picture) -> None:
        for row in picture.rows(self._info):
            texts = {name: cell(row[name]) for name in ("file", "error") if row[name] is not None}
            self._writer.writerow({**row, **texts})


def score(
    source: Annotated[str, typer.Option("--input", help="Folder tree of pictures, Parquet file or folder of such; or its URI.")],
    output: Annotated[str, typer.Option(help="Folder to write, or its URI; a run that was stopped goes on in it.")],
    spark_master: Annotated[str, typer.Option(help="Spark master: local[*], or spark://HOST:PORT of a cluster.")] = "local[*]",
    model: Model = None,
    detector: Detector = None,
    faces: Annotated[
        str, typer.Option(help="detect (search each picture for faces) or crop (each picture is one face).")
    ] = "detect",
    threshold: Threshold = 0.4,
    chunk: Annotated[int, typer.Option(help="Pictures of a folder that are finished together.", min=1)] = 2000,
) -> None:
    """Name the emotions of all faces in large sets of pictures, in Spark.

    The result has a Parquet row per face, and one per picture or Parquet file that cannot be read; where there are any, the exit
    code is 5. Files of other kinds are counted.

    A cluster needs this package on each machine, and input and output on a file system that all of them share, or in buckets:
    s3://BUCKET/NAME or gs://BUCKET/NAME, with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION, AWS_ENDPOINT_URL or
    GOOGLE_APPLICATION_CREDENTIALS in the environment of each machine.

    Example: `fer score --input photos --output scores`, then `pandas.read_parquet("scores/faces")`
    """
    from tqdm import tqdm

    from fer_pipeline.data.storage import storage_location
    from fer_pipeline.inference.model_files import PortableModel
    from fer_pipeline.scoring import score
    from fer_pipeline.scoring.outputs import FACES

    if faces not in ("detect", "crop"):
        raise ParamsError(f"--faces is {faces}, expected detect or crop")
    framing: Literal["detect", "crop"] = "crop" if faces == "crop" else "detect"
    portable = PortableModel.read(chosen_model(model), detector)
    pictures, out = storage_location(source), storage_location(output)
    with exclusive(out.lock, "fer score"), tqdm(unit=" pictures", file=sys.stderr) as bar:

        def advance(progress: score.ScoreProgress) -> None:
            bar.set_postfix(faces=progress.faces, errors=progress.errors, refresh=False)
            bar.update(progress.pictures - bar.n)

        progress = score.score(
            pictures, out, portable, master=spark_master, faces=framing, threshold=threshold, chunk=chunk, on_progress=advance
        )
    results.print(f"{progress.summary()}; table: {out.child(FACES).address}")
    for note in progress.notes:
        results.print(labelled("note:", "yellow", note))
    if progress.errors:
        raise typer.Exit(ImageError.exit_code)
