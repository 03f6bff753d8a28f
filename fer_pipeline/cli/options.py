"""Consoles, tables and JSON, and the options that commands share."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from fer_pipeline.errors import ToolUnavailableError
from fer_pipeline.workspace.layout import BUNDLE
from fer_pipeline.workspace.names import printable

if TYPE_CHECKING:  # OpenCV and onnxruntime are loaded by the commands, not by `fer --help`
    from rich.table import Table

    from fer_pipeline.inference.neutral.reference import NeutralReference
    from fer_pipeline.inference.recognizer import Recognizer


class _Console(Console):
    """A console on which names of files give the terminal no orders."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text, keep="\n\t"))


# Paths and messages are printed as they are: names may hold brackets and colons, which rich would take for markup and emoji.
results = _Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
errors = _Console(highlight=False, soft_wrap=True, markup=False, emoji=False, stderr=True)

_DOUBTFUL = 0.1  # probability of neutral below which a neutral picture is doubtful

_ANY_WIDTH: Final = 100_000
"""Columns of a table where no terminal cuts it."""

VERSION_WORDS: Final = "number, alias, or run id as `fer status` prints it."
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value instead.")]
Model = Annotated[
    str | None,
    typer.Option(
        help="Pretrained model (`fast`), `champion`, `challenger` or `fer/3` of the registry, or folder of an exported model; "
        f"left out: the champion in {BUNDLE} if it was trained on real faces, else `fast`."
    ),
]
Detector = Annotated[
    str | None,
    typer.Option(
        help="Face detector: centerface, yunet (`fer models fetch yunet`), haar, or the path of YuNet's file; "
        "left out: the one of the model, which is centerface unless its params.yaml says otherwise."
    ),
]
NeutralTau = Annotated[
    float | None, typer.Option(help="--neutral: nats by which neutral becomes likelier, .75 where left out.", min=0)
]
Threshold = Annotated[float, typer.Option(help="Probability below which the answer is `uncertain`.", min=0, max=1)]


def print_json(value: Any) -> None:
    """Print a value of lists, dicts, strings, numbers and None as JSON."""
    typer.echo(json.dumps(value, indent=2))


def print_table(table: Table) -> None:
    """Print a table: as wide as the terminal, in a file or pipe as wide as it is."""
    console = results if results.is_terminal else _Console(width=_ANY_WIDTH, file=results.file, markup=False, emoji=False)
    console.print(table, soft_wrap=False)


def chosen_model(model: str | None) -> Path:
    """Find the model of a command, and print on stderr which one it is.

    The words are those of `experiments.model_lookup.find_model`, which raises `ModelError` where there is no such model.
    """
    from fer_pipeline.experiments.model_lookup import find_model
    from fer_pipeline.model_info import ModelInfo

    found = find_model(model)
    info = ModelInfo.read(found.folder)
    errors.print(f"model: {found.origin} ({info.network} {info.fingerprint})", style="dim")
    if found.note:
        errors.print(labelled("note:", "yellow", found.note))
    if info.synthetic:
        errors.print(
            labelled(
                "note:",
                "yellow",
                "this model was trained on generated faces: it is for trying the pipeline, not real pictures (--model fast is "
                "the pretrained one, trained on real ones)",
            )
        )
    return found.folder


def model_path(word: str | Path) -> Path:
    """Find a model by its name; any other word is taken as the path of a folder."""
    from fer_pipeline.experiments.model_lookup import is_model_name

    model = str(word)  # typer hands over the default of an option as it is
    return chosen_model(model) if is_model_name(model) else Path(model)


def chosen_recognizer(model: str | None, detector: str | None, threshold: float) -> Recognizer:
    """Load the recognizer of a command's options, and name its detector on stderr."""
    from fer_pipeline.inference.recognizer import Recognizer

    recognizer = Recognizer.load(chosen_model(model), detector, threshold)
    errors.print(f"face detector: {recognizer.detector.name}", style="dim")
    return recognizer


def neutral_reference(recognizer: Recognizer, files: list[Path], tau: float | None) -> NeutralReference:
    """Make a reference of a command's neutral pictures, and say how they read.

    Raises `ImageError` where one cannot be read, or has no face or several.
    """
    from fer_pipeline.inference.neutral.reference import DEFAULT_TAU
    from fer_pipeline.labels import EMOTIONS, emotion_index

    reference = recognizer.reference(files, tau=DEFAULT_TAU if tau is None else tau)
    ranked = sorted(zip(reference.probabilities, EMOTIONS, strict=True), reverse=True)
    read = ", ".join(f"{name} {100 * share:.0f} %" for share, name in ranked[:2])
    errors.print(f"neutral face: {', '.join(map(str, files))}, read as {read}; faces are read relative to it", style="dim")
    if reference.probabilities[emotion_index("neutral")] < _DOUBTFUL:
        words = "it hardly reads as neutral: where it shows an expression, all answers are wrong by that"
        errors.print(labelled("note:", "yellow", words))
    return reference


def counted(count: int, one: str, many: str = "") -> str:
    """Join a count and its noun: "no faces", "1 face", "2,000 faces"."""
    return f"{f'{count:,}' if count else 'no'} {one if count == 1 else many or one + 's'}"


def check_port(host: str, port: int, command: str) -> None:
    """Check that this machine can listen on a port of the address `host`.

    Raises `ToolUnavailableError` where it cannot.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        other = port + 1 if port < 65535 else 3000
        raise ToolUnavailableError(
            f"`{command}` cannot listen on port {port} of {host} ({error.strerror}): end what uses it, or give another: "
            f"`{command} --port {other}`"
        ) from error


def labelled(label: str, style: str, text: str) -> Text:
    """Return a line that begins with a label in a style of rich, such as "red"."""
    return Text.assemble((label, style), f" {text}")
