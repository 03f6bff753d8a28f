"""The faces of one or several pictures: a list with tables and annotated copies."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from fer_pipeline.errors import ImageError, ParamsError, ToolUnavailableError
from fer_pipeline.imaging import UInt8Array
from fer_pipeline.inference.drawing import annotate
from fer_pipeline.inference.face_emotion import UNCERTAIN, FaceEmotion
from fer_pipeline.inference.output_schema import SCHEMA_VERSION, model_values
from fer_pipeline.inference.pictures.face_table import PICTURE_COLUMNS, picture_rows
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.workspace.files import replaced_file

if TYPE_CHECKING:  # pandas is loaded by `to_pandas`
    import pandas as pd

_SHOWN = 5
"""Faces that `repr` names."""

UNREADABLE = "undecodable_picture"
"""Code of the error of a picture that cannot be read, here and over HTTP."""


@dataclass(frozen=True)
class Picture:
    """One picture and its faces, largest first.

    `file` is None where it comes from memory. `size` is (width, height) in pixels; None where the picture could not be read, and
    then `error` says why. `read` returns the picture again.
    """

    file: str | None
    size: tuple[int, int] | None
    faces: tuple[FaceEmotion, ...]
    error: str | None = None
    read: Callable[[], UInt8Array] = field(repr=False, compare=False, kw_only=True)

    def only_face(self) -> FaceEmotion:
        """Return the face of a picture of one person.

        Raises `ImageError` where the picture could not be read, or has no face or several.
        """
        if self.error is not None:
            raise ImageError(self.error)
        if len(self.faces) == 1:
            return self.faces[0]
        count = f"{len(self.faces)} faces" if self.faces else "no face"
        advice = "cut that person out" if self.faces else "give a picture in which it is seen whole and from the front"
        raise ImageError(f"{self.file or 'picture'}: {count} found, expected the face of one person: {advice}")

    def annotated(self) -> UInt8Array:
        """Return the picture with its faces drawn in, RGB uint8 (H, W, 3).

        Raises `ImageError` where the picture could not be read.
        """
        image = self.read()
        return annotate(image if image.ndim == 3 else image[:, :, None].repeat(3, axis=2), self.faces)

    def as_dict(self, info: ModelInfo) -> dict[str, Any]:
        """Return the values of docs/outputs.md as plain JSON; `info` is that of the model."""
        return {
            "schema_version": SCHEMA_VERSION,
            "file": self.file,
            "picture": self.size and {"width": self.size[0], "height": self.size[1]},
            "faces": [face.as_dict() for face in self.faces],
            "model": model_values(info),
            "error": self.error and {"code": UNREADABLE, "message": self.error},
        }

    def rows(self, info: ModelInfo) -> list[dict[str, Any]]:
        """Return one flat row per face, or one without a face (`picture_rows`)."""
        return picture_rows(self.faces, info, file=self.file, size=self.size, error=self.error)


class Recognition(list[FaceEmotion]):
    """The faces of one or several pictures.

    A list of all faces. `pictures` has them by picture, in the order in which the pictures were given, `errors` the pictures that
    could not be read, `model` the metadata of the model.
    """

    def __init__(self, pictures: Iterable[Picture], model: ModelInfo) -> None:
        self.pictures = tuple(pictures)
        self.model = model
        super().__init__(face for picture in self.pictures for face in picture.faces)

    @property
    def errors(self) -> tuple[Picture, ...]:
        """Return the pictures that could not be read."""
        return tuple(picture for picture in self.pictures if picture.error is not None)

    def __repr__(self) -> str:
        count = f"{len(self)} face{'s' * (len(self) != 1)}"
        if len(self.pictures) != 1:
            count += f" in {len(self.pictures)} pictures"
        if self.errors:
            count += f", {len(self.errors)} unreadable"
        named = ", ".join(
            face.emotion if face.emotion == UNCERTAIN else f"{face.emotion} {100 * face.confidence:.0f} %"
            for face in self[:_SHOWN]
        )
        more = ", ..." if len(self) > _SHOWN else ""
        return f"<{count}{': ' if self else ''}{named}{more}>"

    def as_dicts(self) -> list[dict[str, Any]]:
        """Return one object per picture, as `fer predict --json` prints it."""
        return [picture.as_dict(self.model) for picture in self.pictures]

    def to_pandas(self) -> pd.DataFrame:
        """Return a table with a row per face, and one per picture without a face.

        The columns are those of `fer predict --csv`, in docs/outputs.md. Raises `ToolUnavailableError` where pandas is missing.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise ToolUnavailableError(
                f"a table needs pandas ({error}): `pip install 'fer-pipeline[tables]'`, or take as_dicts()"
            ) from error

        rows = [row for picture in self.pictures for row in picture.rows(self.model)]
        return pd.DataFrame(rows, columns=list(PICTURE_COLUMNS))

    def save_annotated(self, path: str | PathLike[str]) -> list[Path]:
        """Write the pictures with their faces drawn in; return the files.

        `path` is a file for one picture, whose ending chooses the format, and else a folder, in which each picture that could be
        read becomes NAME.png. Raises `ParamsError` for an ending that is no format of pictures, or where two pictures of a folder
        would become one file, and `ImageError` where a file is not there any more.
        """
        target = Path(path)
        if len(self.pictures) == 1 and not target.is_dir():
            _save(self.pictures[0], target)
            return [target]
        named: dict[Path, Picture] = {}
        for number, picture in enumerate(self.pictures, 1):
            name = Path(picture.file).name if picture.file else f"picture-{number:04d}"
            other = named.setdefault(target / f"{name}.png", picture)
            if other is not picture:
                raise ParamsError(
                    f"{other.file} and {picture.file} would both be drawn into {target / name}.png: recognize them "
                    "apart, and give two folders"
                )
        written = {file: picture for file, picture in named.items() if picture.error is None}
        for file, picture in written.items():
            _save(picture, file)
        return list(written)


def _save(picture: Picture, target: Path) -> None:
    kind = Image.registered_extensions().get(target.suffix.lower())
    if kind is None or kind not in Image.SAVE:
        raise ParamsError(f"{target} ends with {target.suffix!r}, which is no format of pictures: try .png or .jpg")
    drawn = picture.annotated()
    try:
        with replaced_file(target) as aside:
            Image.fromarray(drawn).save(aside, kind, **({"quality": 92} if kind == "JPEG" else {}))
    except OSError as error:
        raise ImageError(f"{target} cannot be written: {error.strerror or error}") from error
