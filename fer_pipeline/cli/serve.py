"""`fer serve`: serve the champion, or a pretrained model, with BentoML."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final

import typer

from fer_pipeline.cli.options import check_port, chosen_model, errors, labelled, results
from fer_pipeline.errors import ModelError
from fer_pipeline.workspace.homes import check_homes
from fer_pipeline.workspace.layout import BUNDLE, CHALLENGER, SHADOW_LOG

_SERVICE: Final = "fer_pipeline.serving.service:Fer"
"""The service of this installation; a bento holds its own."""


def serve(
    model: Annotated[
        str | None,
        typer.Option(
            help="Pretrained model (`fast`, `accurate`), `champion`, or folder of an exported model; left out: the champion if "
            "it was trained on real faces, else `fast`."
        ),
    ] = None,
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 3000,
    host: Annotated[str, typer.Option(help="Address to listen on; loopback by default.")] = "127.0.0.1",
    follow: Annotated[
        float,
        typer.Option(
            help="Seconds after which a new champion takes over at the latest; 0: none does.", min=0, envvar="FER_RELOAD_SECONDS"
        ),
    ] = 5,
    workers: Annotated[int, typer.Option(help="Processes that answer; one uses two cores for pictures.", min=1)] = 1,
    shadow: Annotated[
        float | None,
        typer.Option(help="Share of the requests that the challenger judges, too; see `fer shadow report`.", min=0.001, max=1),
    ] = None,
) -> None:
    """Serve the champion, or a pretrained model, with BentoML.

    A new champion takes over while it runs, also from the pretrained model that is served where there was none.

    Example: `fer serve --model accurate --port 3000`
    """
    if find_spec("bentoml") is None:
        raise ModuleNotFoundError(name="bentoml")
    check_homes("BentoML")
    if model == "champion" or (model is None and _has_own_bundle()):
        target = shown = _champion(follow)
    else:
        target, shown = _SERVICE, _other_model(model, follow)
    if shadow is not None:
        root = Path.cwd()
        challenger = os.environ.setdefault("FER_SHADOW_MODEL", str(root / CHALLENGER))
        log = os.environ.setdefault("FER_SHADOW_LOG", str(root / SHADOW_LOG))
        os.environ["FER_SHADOW_SHARE"] = str(shadow)
        results.print(f"the challenger in {challenger} is run on {shadow:g} of the requests, and compared in {log}")
    if workers > 1:
        others = os.environ.get("BENTOML_CONFIG_OPTIONS", "")
        os.environ["BENTOML_CONFIG_OPTIONS"] = f"{others} services.fer.workers={workers}".strip()
    check_port(host, port, "fer serve")
    address = f"[{host}]" if ":" in host else host
    results.print(f"serving {shown} on http://{address}:{port}")
    bentoml = str(Path(sys.executable).with_name("bentoml"))
    os.execv(bentoml, [bentoml, "serve", target, "--host", host, "--port", str(port)])


def _has_own_bundle() -> bool:
    """Whether FER_MODEL_DIR is set, or data/bundle is a model of real faces."""
    from fer_pipeline.model_info import ModelInfo

    return "FER_MODEL_DIR" in os.environ or (BUNDLE.is_dir() and not ModelInfo.read(BUNDLE).synthetic)


def _champion(follow: float) -> str:
    from fer_pipeline.model_info import ModelInfo
    from fer_pipeline.promotion import champion

    tag = champion.champion_tag(Path.cwd())
    if tag is None:
        raise ModelError("there is no packaged champion yet: run `fer run` first")
    if follow:
        folder = Path(os.environ.setdefault("FER_MODEL_DIR", str(Path.cwd() / BUNDLE)))
        if ModelInfo.read(folder).synthetic:
            errors.print(labelled("note:", "yellow", "this champion was trained on drawn faces, and says so in each answer"))
        os.environ["FER_RELOAD_SECONDS"] = str(follow)
        results.print(f"a new champion in {folder} takes over within {follow:g} s")
    else:
        os.environ.pop("FER_RELOAD_SECONDS", None)
    return tag


def _other_model(model: str | None, follow: float) -> str:
    folder = chosen_model(model).absolute()
    os.environ["FER_MODEL_DIR"] = str(folder)
    os.environ.pop("FER_RELOAD_SECONDS", None)
    if model is not None:
        return model
    if follow:
        bundle = Path.cwd() / BUNDLE
        os.environ.update(FER_FOLLOW_DIR=str(bundle), FER_RELOAD_SECONDS=str(follow))
        results.print(f"a champion of real faces in {bundle} takes over within {follow:g} s")
    return f"{folder.name}, pretrained"
