from __future__ import annotations

import ast
import re
import shutil
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from rich.console import Console
from rich.table import Table
from typer.testing import CliRunner

from fer_pipeline.cli.app import app
from fer_pipeline.cli.options import check_port, counted, errors, labelled, results
from fer_pipeline.errors import FerError, ModelError, ParamsError, ToolUnavailableError
from fer_pipeline.model_info import ModelInfo
from tests.fixtures.commands import fer, publish

PACKAGE = Path(__file__).parents[2] / "fer_pipeline"

UInt8Array = npt.NDArray[np.uint8]

pytestmark = pytest.mark.usefixtures("elsewhere")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ((), "no champion in data/bundle: train one with `fer run`"),
        ((), "no pretrained model is named 'fast' (there are: none)"),
        (("--model", "champion"), "params.yaml is missing"),
        (("--model", "fer/3"), "params.yaml is missing"),
        (
            ("--model", "elsewhere"),
            "named 'elsewhere' (there are: none), and there is no such folder",
        ),
        (("--model", "."), "no exported model in ."),
    ],
)
def test_a_missing_model_is_named_with_what_to_do(face: str, options: tuple[str, ...], reason: str) -> None:
    error = fer("predict", face, *options).exception
    assert isinstance(error, FerError)
    assert reason in str(error)


def test_the_champion_answers_and_else_the_pretrained_model(face: str, tmp_path: Path, brightness_model: Path) -> None:
    publish(brightness_model, tmp_path / "weights")
    by_default = fer("predict", face)
    assert by_default.exit_code == 0, by_default.output
    assert "model: fast, pretrained (brightness " in by_default.stderr
    assert "face detector: centerface\n" in by_default.stderr
    assert "face detector: haar\n" in fer("predict", face, "--detector", "haar").stderr
    assert "face.png: 1 face\n" in by_default.stdout
    shutil.copytree(brightness_model, tmp_path / "data" / "bundle")
    assert "model: the champion in data/bundle (brightness " in fer("predict", face).stderr
    assert "model: fast, pretrained" in fer("predict", face, "--model", "fast").stderr


def test_a_champion_of_drawn_faces_answers_only_where_named(face: str, tmp_path: Path, brightness_model: Path) -> None:
    publish(brightness_model, tmp_path / "weights")
    bundle = tmp_path / "data" / "bundle"
    shutil.copytree(brightness_model, bundle)
    replace(ModelInfo.read(bundle), synthetic=True).write(bundle)
    for command in (["predict", face], ["explain", face, "--out", "x.png"]):
        done = fer(*command)
        assert done.exit_code == 0, done.output
        assert "note: the champion in data/bundle was trained on drawn faces, and answers only where it is named" in done.stderr
        assert "model: fast, pretrained" in done.stderr
    named = fer("predict", face, "--model", "data/bundle")
    assert "note: this model was trained on generated faces" in named.stderr
    assert "face.png: 1 face, by a model of drawn faces\n" in named.stdout


def test_a_version_of_the_registry_is_downloaded_once(
    face: str, tmp_path: Path, brightness_model: Path, tracking_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fer_pipeline.experiments import exports, registry, runs

    shutil.copy(Path(__file__).parents[2] / "params.yaml", tmp_path)
    info = ModelInfo.read(brightness_model)
    version, _ = registry.register(brightness_model, info, "fer", runs.ensure_run(None, "brightness", {}), {})
    registry.set_alias(version, registry.CHAMPION)
    for model in ("champion", "challenger", "fer/1"):
        done = fer("predict", face, "--model", model)
        assert done.exit_code == 0, done.output
        assert f"model: fer version 1 (brightness {info.fingerprint})" in done.stderr
        monkeypatch.setattr(exports, "local_export", lambda *_: pytest.fail("downloaded again"))
    assert "no version or alias '2'" in str(fer("predict", face, "--model", "fer/2").exception)


@pytest.mark.parametrize("place", ["given.onnx", "data/models/yunet.onnx", "user/fer-pipeline/face_detection_yunet_2023mar.onnx"])
def test_a_detector_that_is_not_the_published_one_is_refused(
    face: str, place: str, tmp_path: Path, brightness_model: Path
) -> None:
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_bytes(b"changed")
    choice = place if place == "given.onnx" else "yunet"
    error = fer("predict", face, "--model", brightness_model, "--detector", choice).exception
    assert isinstance(error, ModelError)
    assert place in str(error)


def test_a_failed_fetch_names_the_path_of_the_file(tmp_path: Path) -> None:
    """Only what is known can be fetched, and a failure says where to put the file."""
    assert isinstance(fer("models", "fetch", "haar").exception, ParamsError)
    error = fer("models", "fetch", "yunet", "--url", "http://127.0.0.1:9/x").exception
    assert isinstance(error, ToolUnavailableError)
    assert str(tmp_path / "user/fer-pipeline/face_detection_yunet_2023mar.onnx") in str(error)


@pytest.mark.parametrize(
    ("count", "words", "text"),
    [
        (0, ("face",), "no faces"),
        (1, ("face",), "1 face"),
        (2000, ("face",), "2,000 faces"),
        (0, ("person", "people"), "no people"),
        (3, ("person", "people"), "3 people"),
    ],
)
def test_a_count_agrees_with_its_noun(count: int, words: tuple[str, ...], text: str) -> None:
    assert counted(count, *words) == text


def test_a_port_that_is_in_use_is_named(tmp_path: Path) -> None:
    """Commands that listen say that a port is taken, before they start a server."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        with pytest.raises(ToolUnavailableError, match=f"`fer serve` cannot listen on port {port} of 127.0.0.1"):
            check_port("127.0.0.1", port, "fer serve")
    check_port("127.0.0.1", port, "fer serve")


def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(ToolUnavailableError, match=r"cannot listen on port 3000 of 192\.0\.2\.1"):
        check_port("192.0.2.1", 3000, "fer serve")


@pytest.mark.parametrize("command", ["serve", "ui mlflow", "ui prefect"])
@pytest.mark.parametrize("port", ["0", "80000"])
def test_a_port_out_of_range_is_refused(command: str, port: str) -> None:
    result = CliRunner().invoke(app, [*command.split(), "--port", port])
    assert result.exit_code == 2


@pytest.mark.parametrize("console", [results, errors], ids=["results", "errors"])
@pytest.mark.parametrize("name", ["[1]", "[bold]b[/]", "[/x]", "[/]", ":smile:", "[link=x]"])
def test_any_name_is_printed_as_it_is(console: Console, name: str) -> None:
    """Brackets in a path are no markup, and words between colons no emoji: in lines, after labels, in tables."""
    table = Table("folder")
    table.add_row(f"/tmp/{name}")
    with console.capture() as shown:
        for line in (f"/tmp/{name}", labelled("note:", "yellow", f"/tmp/{name}"), table):
            console.print(line)
    assert shown.get().count(f"/tmp/{name}") == 3


def test_no_console_reads_markup() -> None:
    """Each console of the package prints text as it is, and no text of the package counts on markup."""
    markup = re.compile(r"\[/\]|\[(bold |dim )?(bold|dim|red|green|yellow)\]")
    found = []
    for file in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "Console":
                if {"markup=False", "emoji=False"} - {ast.unparse(keyword) for keyword in node.keywords}:
                    found.append(f"{file.name}:{node.lineno}: {ast.unparse(node)}")
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and markup.search(node.value):
                found.append(f"{file.name}:{node.lineno}: {node.value}")
    assert found == []
