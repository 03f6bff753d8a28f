"""`fer predict` and `fer score`: the emotions of faces in pictures."""

from __future__ import annotations

import csv
import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.text import Text

from fer_pipeline.cli.options import (
    Detector,
    Model,
    Threshold,
    chosen_model,
    chosen_recognizer,
    counted,
    errors,
    labelled,
    results,
)
from fer_pipeline.errors import ImageError, ParamsError
from fer_pipeline.workspace.locks import exclusive
from fer_pipeline.workspace.names import cell

if TYPE_CHECKING:  # OpenCV and onnxruntime are loaded by the command, not by `fer --help`
    from fer_pipeline.inference.face_emotion import FaceEmotion
    from fer_pipeline.inference.recognizer import Recognizer

_PICTURES_AT_ONCE = 8


def predict(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Pictures: JPEG, PNG, WebP, AVIF, GIF, TIFF, BMP, and HEIC with the package pillow-heif; the first frame of "
            "several.",
            metavar="FILES...",
            readable=False,
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per picture and line.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="One CSV row per face; odd names are escaped.")] = False,
    annotate: Annotated[Path | None, typer.Option(help="Folder for copies with the faces drawn in.")] = None,
    model: Model = None,
    detector: Detector = None,
    threshold: Threshold = 0.4,
) -> None:
    """Name the emotions of all faces in pictures.

    A file that cannot be read is named on stderr and passed over; then the exit code is 5.

    Example: `fer predict holiday/*.jpg --csv > faces.csv`
    """
    if as_json and as_csv:
        raise ParamsError("--json and --csv were both given: choose one")
    if annotate is not None:
        _prepare(annotate, files)
    recognizer = chosen_recognizer(model, detector, threshold)
    show = _JsonLines() if as_json else _CsvRows() if as_csv else _Words()
    bad = 0
    for start in range(0, len(files), _PICTURES_AT_ONCE):
        bad += _predict(files[start : start + _PICTURES_AT_ONCE], recognizer, show, annotate)
    if bad:
        errors.print(f"{bad} of {counted(len(files), 'picture')} could not be read")
        raise typer.Exit(ImageError.exit_code)


def _predict(files: list[Path], recognizer: Recognizer, show: _Words | _JsonLines | _CsvRows, annotate: Path | None) -> int:
    from fer_pipeline import imaging
    from fer_pipeline.inference.drawing import annotate as draw

    pictures = []
    for file in files:
        try:
            if file.is_fifo():  # to read it would wait for its writer
                raise ImageError("a pipe, expected a picture")
            pictures.append((file, imaging.decode(file.read_bytes(), on_note=partial(_note, file))))
        except (ImageError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            if isinstance(error, IsADirectoryError):
                reason = f"a folder, expected a picture: give {file}/*.jpg, or all that is in it to `fer score --input {file}`"
            errors.print(labelled("error:", "bold red", f"{file}: {reason}"))
    for (file, image), faces in zip(pictures, recognizer.recognize_many([image for _, image in pictures]), strict=True):
        show(file, faces)
        if annotate is not None:
            (annotate / f"{file.name}.png").write_bytes(imaging.encode_png(draw(image, faces)))
    return len(files) - len(pictures)


def _note(file: Path, text: str) -> None:
    errors.print(labelled("note:", "yellow", f"{file}: {text}"))


def _prepare(annotate: Path, files: list[Path]) -> None:
    named: dict[str, Path] = {}
    for file in files:
        other = named.setdefault(file.name, file)
        if other != file:
            raise ParamsError(
                f"{other} and {file} would both be drawn into {annotate / file.name}.png: call twice, with two folders"
            )
    try:
        annotate.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ParamsError(f"--annotate is {annotate}, which is no folder that can be made: {error.strerror}") from error


class _Words:
    def __call__(self, file: Path, faces: list[FaceEmotion]) -> None:
        count = counted(len(faces), "face") if faces else "no face found"
        results.print(Text.assemble((str(file), "bold"), f": {count}"))
        for face in faces:
            x1, y1, x2, y2 = face.box_xyxy or (0.0, 0.0, 0.0, 0.0)
            ranked = sorted(face.as_dict()["probabilities"].items(), key=lambda pair: -pair[1])[:3]
            turn = f", picture turned by {face.rotation} degrees" if face.rotation else ""
            doubts = f" ({', '.join(face.reasons)})" if face.reasons else ""
            likely = ", ".join(f"{name} {100 * p:.0f} %" for name, p in ranked)
            where = f"at {x1:.0f},{y1:.0f} size {x2 - x1:.0f}x{y2 - y1:.0f}{turn}"
            results.print(Text.assemble("  ", (face.emotion, "bold"), (doubts, "yellow"), f"  {likely}  {where}"))


class _JsonLines:
    def __call__(self, file: Path, faces: list[FaceEmotion]) -> None:
        typer.echo(json.dumps({"file": str(file), "faces": [face.as_dict() for face in faces]}))


class _CsvRows:
    def __init__(self) -> None:
        from fer_pipeline.inference.face_table import FACE_COLUMNS

        # Texts are quoted: a spreadsheet that splits at semicolons finds no cell within a name.
        self._writer = csv.DictWriter(sys.stdout, ["file", *FACE_COLUMNS], quoting=csv.QUOTE_NONNUMERIC)
        self._writer.writeheader()

    def __call__(self, file: Path, faces: list[FaceEmotion]) -> None:
        from fer_pipeline.inference.face_table import face_rows

        for row in face_rows(faces, file=cell(str(file))):
            self._writer.writerow({name: round(value, 5) if isinstance(value, float) else value for name, value in row.items()})


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

    The result has a Parquet row per face, and one per picture that cannot be read; where there are any, the exit code is 5.

    A cluster needs this package on each machine, and input and output on a file system that all of them share, or in buckets:
    s3://BUCKET/NAME or gs://BUCKET/NAME, with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION, AWS_ENDPOINT_URL or
    GOOGLE_APPLICATION_CREDENTIALS in the environment of each machine.

    Example: `fer score --input photos --output scores`, then `pandas.read_parquet("scores/faces")`
    """
    from tqdm import tqdm

    from fer_pipeline.inference.detection.yunet import published_yunet
    from fer_pipeline.inference.detection.yunet_download import find_yunet
    from fer_pipeline.inference.model_files import PortableModel
    from fer_pipeline.scoring import score
    from fer_pipeline.scoring.outputs import FACES
    from fer_pipeline.scoring.storage import storage_location

    if faces not in ("detect", "crop"):
        raise ParamsError(f"--faces is {faces}, expected detect or crop")
    framing: Literal["detect", "crop"] = "crop" if faces == "crop" else "detect"
    detector = find_yunet(detector)
    if detector is not None:
        published_yunet(detector)
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
    if progress.errors:
        raise typer.Exit(ImageError.exit_code)
