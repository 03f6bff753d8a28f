from __future__ import annotations

import dataclasses
import filecmp
import importlib.metadata
import re
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml

from fer_pipeline.errors import ModelError
from fer_pipeline.model_info import CARD_FILE, INFO_FILE, MODEL_FILE, ModelInfo
from fer_pipeline.promotion.bundle import bento, store
from fer_pipeline.promotion.bundle.folder import replaced_bundle
from fer_pipeline.promotion.bundle.smoke_test import _predict, smoke_test
from tests.serving.ports import open_ports

REPOSITORY = Path(__file__).parents[3]


@dataclasses.dataclass(frozen=True)
class Packaged:
    """A repository whose model was packaged as `tag`, and BentoML's home."""

    root: Path
    home: Path
    tag: str

    @property
    def bento(self) -> Path:
        return self.home / "bentos" / self.tag.replace(":", "/")


def repository_in(folder: Path) -> Path:
    shutil.copy(REPOSITORY / "bentofile.yaml", folder)
    shutil.copytree(REPOSITORY / "fer_pipeline", folder / "fer_pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture
def servers(running_commands: Callable[[], list[str]]) -> Callable[[], list[str]]:
    """Lists the servers that are left."""
    return lambda: [command for command in running_commands() if " serve " in command]


@pytest.fixture(scope="module")
def packaged(brightness_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Packaged:
    root = repository_in(tmp_path_factory.mktemp("repository"))
    home = tmp_path_factory.mktemp("bentoml-in-a-folder-whose-path-is-longer-than-a-line-of-a-terminal")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENTOML_HOME", str(home))
        (home / "prometheus_multiproc_dir").mkdir()
        (home / "prometheus_multiproc_dir" / "counter_1.db").touch()
        tag = bento.build(brightness_model, "v1-test", root)
        with_card = shutil.copytree(brightness_model, tmp_path_factory.mktemp("card") / "model")
        (with_card / CARD_FILE).write_text("what it is")
        with replaced_bundle(with_card, root):
            pass
    return Packaged(root, home, tag)


@pytest.fixture
def at_home(packaged: Packaged, isolated_homes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENTOML_HOME", str(packaged.home))


def test_packaging_returns_the_tag_and_fills_the_bundle(
    packaged: Packaged, brightness_model: Path, servers: Callable[[], list[str]]
) -> None:
    """Packaging returns the tag and leaves the model in the bundle."""
    assert re.fullmatch(r"fer:v1-test-[0-9a-f]{6}", packaged.tag)
    bundle = packaged.root / "data" / "bundle"
    assert filecmp.cmpfiles(bundle, brightness_model, [MODEL_FILE, INFO_FILE], shallow=False)[0] == [MODEL_FILE, INFO_FILE]
    assert (bundle / CARD_FILE).read_text() == "what it is"
    assert servers() == []


def test_a_bento_is_labelled_with_model_and_origin(packaged: Packaged, brightness_model: Path) -> None:
    info = ModelInfo.read(brightness_model)
    labels = yaml.safe_load((packaged.bento / "bento.yaml").read_text())["labels"]
    assert labels == {"project": "fer-pipeline"} | bento.labels_of(info)
    assert labels["model"] == info.fingerprint
    lineage = {"name": "fer", "version": "3", "run_id": "0a1b", "data_version": "5ff3.dir"}
    known = bento.labels_of(dataclasses.replace(info, lineage=lineage, metrics={"accuracy": 0.63399}, data="a = b, c"))
    assert known | {"version": "3", "run": "0a1b", "data_version": "5ff3.dir", "accuracy": "0.6340", "data": "a = b, c"} == known


def test_packaging_leaves_the_metrics_of_a_running_service_alone(packaged: Packaged) -> None:
    assert (packaged.home / "prometheus_multiproc_dir" / "counter_1.db").exists()


def test_the_bento_holds_what_serving_needs_and_nothing_else(packaged: Packaged) -> None:
    source = packaged.bento / "src"
    found = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    code = {
        path.relative_to(packaged.root).as_posix()
        for pattern in bento.SERVED_CODE
        for path in packaged.root.glob(pattern)
        if path.is_file() and path.suffix != ".pyc"
    }
    assert found == code | {
        "bentofile.yaml",
        f"data/bundle/{MODEL_FILE}",
        f"data/bundle/{INFO_FILE}",
    }


def test_the_bentofile_includes_the_served_code_and_the_bundle() -> None:
    include = yaml.safe_load((REPOSITORY / "bentofile.yaml").read_text())["include"]
    assert include == [*bento.SERVED_CODE, "data/bundle/*"]


def test_the_packages_of_the_bento_are_those_of_the_lock() -> None:
    packages = yaml.safe_load((REPOSITORY / "bentofile.yaml").read_text())["python"]["packages"]
    locked = {(entry["name"], entry["version"]) for entry in tomllib.loads((REPOSITORY / "uv.lock").read_text())["package"]}
    for package in packages:
        name, version = package.split("==")
        assert (name, version) in locked
        assert importlib.metadata.version(name) == version


@pytest.mark.usefixtures("at_home")
def test_a_bento_that_answers_with_another_model_is_no_package(
    packaged: Packaged, brightness_model: Path, tmp_path: Path, servers: Callable[[], list[str]]
) -> None:
    other = shutil.copytree(brightness_model, tmp_path / "other")
    info = ModelInfo.read(other)
    dataclasses.replace(info, temperature=1.0).write(other)  # same weights, other probabilities
    with pytest.raises(ModelError, match="does not serve its model: it answers"):
        smoke_test(packaged.tag, other)
    assert servers() == []


@pytest.mark.usefixtures("at_home")
def test_a_bento_listens_on_its_own_port_alone(
    packaged: Packaged, brightness_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`bentoml serve` opens no port on which others could command the supervisor of its workers."""
    seen: list[set[int]] = []

    def look(url: str, picture: bytes) -> Any:
        ports = [open_ports(child.pid) for child in psutil.Process().children()]
        seen.extend(found - {httpx.URL(url).port} for found in ports if httpx.URL(url).port in found)
        return _predict(url, picture)

    monkeypatch.setattr("fer_pipeline.promotion.bundle.smoke_test._predict", look)
    smoke_test(packaged.tag, brightness_model)
    assert seen == [set()]


@pytest.mark.usefixtures("at_home")
def test_a_bento_that_does_not_start_is_told_with_its_log(
    packaged: Packaged, brightness_model: Path, servers: Callable[[], list[str]]
) -> None:
    model = packaged.bento / "src" / "data" / "bundle" / MODEL_FILE
    content = model.read_bytes()
    model.write_bytes(content + b"\0")
    try:
        with pytest.raises(ModelError, match=r"(?s)failed while starting.*changed or damaged"):
            smoke_test(packaged.tag, brightness_model)
    finally:
        model.write_bytes(content)
    assert servers() == []


@pytest.mark.usefixtures("at_home")
def test_a_failed_smoke_test_leaves_no_bento_and_no_bundle(
    packaged: Packaged, brightness_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed trial leaves neither bento nor bundle behind."""

    def fail(*_: object) -> None:
        raise ModelError("wrong answer")

    before = (packaged.root / "data" / "bundle" / INFO_FILE).read_bytes()
    other = shutil.copytree(brightness_model, tmp_path / "other")
    dataclasses.replace(ModelInfo.read(other), network="worse").write(other)
    monkeypatch.setattr(bento, "smoke_test", fail)
    with pytest.raises(ModelError, match="wrong answer"):
        bento.build(other, "v2-test", packaged.root)
    assert (packaged.root / "data" / "bundle" / INFO_FILE).read_bytes() == before
    assert [path.name for path in packaged.bento.parent.iterdir() if path.is_dir()] == [packaged.bento.name]


@pytest.mark.usefixtures("at_home")
def test_a_bento_is_tested_again_until_its_test_is_noted(
    packaged: Packaged, brightness_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bento counts once its smoke test is noted and is tested again before."""
    tested: list[str] = []
    monkeypatch.setattr(bento, "smoke_test", lambda tag, _folder: tested.append(tag))
    before = packaged.bento.stat().st_ino
    assert bento.build(brightness_model, "v1-test", packaged.root) == packaged.tag  # its process was killed in the smoke test
    assert tested == [packaged.tag]
    assert bento.build(brightness_model, "v1-test", packaged.root, tested=packaged.tag) == packaged.tag
    assert tested == [packaged.tag]
    assert packaged.bento.stat().st_ino == before


@pytest.mark.usefixtures("at_home")
def test_a_bento_that_cannot_be_deleted_hides_no_failure(
    packaged: Packaged, brightness_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bento that cannot be deleted does not hide why it failed."""

    def fail(*arguments: object, **_: object) -> str:
        raise ModelError(f"{arguments[0]} fails")

    monkeypatch.setattr(store, "is_packaged", lambda _tag: True)
    monkeypatch.setattr(bento, "smoke_test", lambda *_: fail("the smoke test"))
    monkeypatch.setattr(store, "run_bentoml", fail)
    with pytest.raises(ModelError, match="the smoke test fails"):
        bento.build(brightness_model, "v1-test", packaged.root)


def test_a_damaged_model_is_refused_before_anything_is_built(brightness_model: Path, tmp_path: Path) -> None:
    model = shutil.copytree(brightness_model, tmp_path / "model")
    (model / MODEL_FILE).write_bytes(b"damaged")
    with pytest.raises(ModelError, match="changed or damaged"):
        bento.build(model, "v1", tmp_path)
    assert not (tmp_path / "data").exists()


def test_a_build_that_fails_says_why(brightness_model: Path, tmp_path: Path) -> None:
    root = repository_in(tmp_path)
    (root / "fer_pipeline" / "serving" / "service.py").write_text("raise RuntimeError('broken service')")
    with pytest.raises(ModelError, match=r"(?s)bentoml build.*broken service"):
        bento.build(brightness_model, "v1", root)
    assert not (root / "data" / "bundle").exists()
