"""Run the commands and the Python of README and of the pages; name what is not run, and why."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pytest
from typer.exceptions import TyperException
from typer.main import get_command

from fer_pipeline.cli.app import app
from fer_pipeline.imaging import encode_png
from fer_pipeline.inference.pretrained import WEIGHTS
from tests.cli.test_messages import commands_in
from tests.fixtures.commands import fer
from tests.fixtures.videos import VideoWriter
from tests.serving.browsing import Site

ROOT: Final = Path(__file__).parents[1]
FILES: Final = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
SERVICE: Final = re.compile(r"(?:http://)?(?:127\.0\.0\.1|localhost):3000")

NOT_RUN: Final = {
    "make test": "it would run itself",
    "fer data add faces/ --numbering affectnet": "in tests/e2e/test_newcomer.py, which is slow",
    "fer run": "in tests/e2e/test_newcomer.py, by `make run`",
    "export PREFECT_API_URL=http://127.0.0.1:4200/api": "`make demo-lifecycle` runs the same servers and deployments",
    "export NO_PROXY=127.0.0.1,localhost": "a setting of the shell",
    "fer ui prefect &": "`make demo-lifecycle` starts the server",
    "prefect work-pool create local --type process": "`make demo-lifecycle` does, against its server",
    "prefect --no-prompt deploy --all": "`make demo-lifecycle` does",
    "python -m flows.automations": "tests/flows does; it needs a server",
    "prefect worker start --pool local &": "`make demo-lifecycle` does",
    "prefect deployment run train-champion/train -p profile=smoke --watch": "minutes; `make demo-lifecycle` does the like",
    "curl --form token=$TOKEN --form correction=sad http://127.0.0.1:3000/feedback": "tests/serving/routes send this form",
    "curl --form token=$TOKEN --form correction=sad --form consent=true --form picture=@portrait.jpg "
    "http://127.0.0.1:3000/feedback": "likewise",
}
"""Commands of the pages that no test here runs, and why."""


NEUTRAL: Final = ("holiday/one.jpg", "at_rest.jpg", "at_rest_2.jpg")


@dataclass(frozen=True)
class Snippet:
    """A block of code in a page."""

    file: Path
    line: int
    language: str
    text: str

    @property
    def name(self) -> str:
        return f"{self.file.name}:{self.line}"

    def commands(self) -> list[str]:
        """Lines of a shell, without comments and surplus spaces."""
        lines = [" ".join(re.sub(r"\s#\s.*", "", line).split()) for line in self.text.splitlines()]
        return [line for line in lines if line]


def snippets(file: Path) -> Iterator[Snippet]:
    text = file.read_text(encoding="utf-8")
    for found in re.finditer(r"^```(\w*)\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE):
        yield Snippet(file, text[: found.start()].count("\n") + 1, found[1], found[2])


SNIPPETS: Final = [one for file in FILES for one in snippets(file)]
PYTHON: Final = [one for one in SNIPPETS if one.language == "python"]
COMMANDS: Final = [(one, line) for one in SNIPPETS if one.language in ("bash", "sh") for line in one.commands()]
HERE: Final = [
    (one, line) for one, line in COMMANDS if line.startswith(("fer predict", "fer video", "curl")) and line not in NOT_RUN
]
MAKE: Final = [(one, line) for one, line in COMMANDS if line.startswith("make ") and line not in NOT_RUN]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, drawn_face: npt.NDArray[np.uint8], write_video: VideoWriter) -> Path:
    """A folder with the pictures and videos that the pages name."""
    folder = tmp_path_factory.mktemp("snippets")
    (folder / "docs" / "pictures").mkdir(parents=True)
    shutil.copy(ROOT / "docs" / "pictures" / "faces.jpg", folder / "docs" / "pictures")
    for name in ("picture.jpg", "another.png", "portrait.jpg", "first.jpg", "second.png", "photos/one.png", *NEUTRAL):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(encode_png(drawn_face))
    for name in ("clip.mp4", "talk.mp4"):
        write_video(folder / name, [drawn_face] * 8)
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The service of the pretrained model, on a port of its own."""
    running = Site(WEIGHTS / "fast", tmp_path_factory.mktemp("site"))
    yield running
    running.close()


def test_each_kind_of_snippet_is_run_or_read() -> None:
    assert {one.language for one in SNIPPETS} == {
        "python",
        "bash",
        "sh",
        "json",
        "text",
        "yaml",
        "js",
    }  # YAML: test_workflow_example; JavaScript: below, and tests/serving/web runs the example page
    assert len(PYTHON) >= 4
    assert len(HERE) >= 10


def test_the_javascript_calls_what_the_module_has() -> None:
    module = (ROOT / "fer_pipeline/serving/web/device/fer.js").read_text(encoding="utf-8")
    (snippet,) = (one for one in SNIPPETS if one.language == "js")
    called = re.findall(r"(?:fer|FaceRecognizer)\.(\w+)\(", snippet.text)
    assert len(called) == 5
    for name in called:
        assert re.search(rf"^  (?:static )?(?:async )?{name}\(", module, flags=re.MULTILINE), name


def test_what_is_not_run_is_listed_and_still_there() -> None:
    lines = {line for _, line in COMMANDS}
    assert set(NOT_RUN) <= lines
    run = {line for _, line in HERE + MAKE}
    assert lines - run - set(NOT_RUN) == set(), "run it in a test here, or say in NOT_RUN why not"


@pytest.mark.parametrize("file", sorted({one.file for one in PYTHON}), ids=lambda file: file.name)
def test_python_of_a_page_runs(
    file: Path, place: Path, site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its blocks follow each other, as a reader gives them."""
    monkeypatch.chdir(place)
    names: dict[str, Any] = {"__name__": "page"}
    for snippet in PYTHON:
        if snippet.file == file:
            exec(compile(SERVICE.sub(site.address.rstrip("/"), snippet.text), snippet.name, "exec"), names)
    assert capsys.readouterr().out


@pytest.mark.parametrize(("snippet", "line"), HERE, ids=lambda one: one if isinstance(one, str) else one.name)
def test_commands_of_the_pages_run(
    snippet: Snippet, line: str, place: Path, site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(place)
    words = shlex.split(SERVICE.sub(site.address.rstrip("/"), line))
    if words[0] == "fer":
        expanded = [sorted(str(file) for file in Path().glob(word)) if "*" in word else [word] for word in words[1:]]
        done = fer(*(word for several in expanded for word in several))
        assert (done.exit_code, done.exception) == (0, None), done.output
        return
    told = subprocess.run([*words, "--silent", "--show-error", "--fail", "--output", tmp_path / "answer"], capture_output=True)
    assert told.returncode == 0, told.stderr
    assert (tmp_path / "answer").stat().st_size > 100 or "/video" in line


def test_the_output_in_readme_is_what_the_command_prints(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Word by word; numbers may differ by 3, since other processors round differently."""
    readme = [one for one in SNIPPETS if one.file.name == "README.md"]
    (place_of_output,) = [number for number, one in enumerate(readme) if one.language == "text"]
    monkeypatch.chdir(place)
    (line,) = readme[place_of_output - 1].commands()
    done = fer(*shlex.split(line)[1:])
    numbers = re.compile(r"(?<![\w.])\d+(?![\w.]*\d*[a-f])")
    shown, printed = readme[place_of_output].text, done.stderr + done.stdout
    assert numbers.sub("N", printed) == numbers.sub("N", shown)
    assert [int(n) for n in numbers.findall(printed)] == pytest.approx([int(n) for n in numbers.findall(shown)], abs=3)


@pytest.mark.parametrize(("snippet", "line"), MAKE, ids=lambda one: one if isinstance(one, str) else one.name)
def test_make_calls_a_command_with_options_that_it_has(snippet: Snippet, line: str) -> None:
    told = subprocess.run([*shlex.split(line), "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=True)
    (call,) = re.findall(r"\.venv/bin/fer (.+)", told.stdout)
    for value in re.findall(r"\w+=(\S+)", line):
        assert value in call
    parse(shlex.split(call))


def parse(words: list[str]) -> None:
    """Parse a command as `fer` would, without running it. Raises a usage error of typer."""
    command: Any = get_command(app)
    while hasattr(command, "commands") and words:
        command, words = command.commands[words[0]], words[1:]
    if not hasattr(command, "commands"):
        command.make_context("fer", words)


def test_commands_within_sentences_can_be_parsed() -> None:
    """Those with arguments; N and the like stand for a number, other capitals for a name."""
    faults: dict[str, str] = {}
    count = 0
    for file in FILES:
        for line in commands_in(file.read_text(encoding="utf-8")):
            words = shlex.split(re.sub(r"[#&>].*|\.\.\.", "", line))
            if any(word.startswith("[") for word in words):
                continue  # the usage of a command in commands.md
            count += 1
            try:
                parse(["1" if word in ("N", "SHARE") else word for word in words])
            except TyperException as error:
                if not re.match("Missing parameter|.* requires an argument", str(error)):  # a sentence may name a part
                    faults[f"{file.name}: fer {line}"] = str(error)
    assert count > 150
    assert faults == {}


@pytest.mark.parametrize("line", ["serve --workers many", "predict a.jpg --jason", "rollback 3"])
def test_a_command_that_cannot_be_parsed_is_found(line: str) -> None:
    with pytest.raises(TyperException):
        parse(line.split())
