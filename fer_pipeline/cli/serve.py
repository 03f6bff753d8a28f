"""`fer serve`: serve the champion's bundle with BentoML."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from fer_pipeline.cli.options import check_port, results
from fer_pipeline.errors import ModelError
from fer_pipeline.workspace.homes import check_homes
from fer_pipeline.workspace.layout import BUNDLE, CHALLENGER, SHADOW_LOG


def serve(
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
    """Serve the champion's bundle with BentoML.

    A new champion takes over while it runs.

    Example: `fer serve --port 3000`
    """
    from fer_pipeline.model_info import ModelInfo
    from fer_pipeline.promotion import champion

    check_homes("BentoML")
    tag = champion.champion_tag(Path.cwd())
    if tag is None:
        raise ModelError("there is no packaged champion yet: run `fer run` first")
    if follow:
        folder = Path(os.environ.setdefault("FER_MODEL_DIR", str(Path.cwd() / BUNDLE)))
        ModelInfo.read(folder)
        os.environ["FER_RELOAD_SECONDS"] = str(follow)
        results.print(f"a new champion in {folder} takes over within {follow:g} s")
    else:
        os.environ.pop("FER_RELOAD_SECONDS", None)
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
    shown = f"[{host}]" if ":" in host else host
    results.print(f"serving {tag} on http://{shown}:{port}")
    bentoml = str(Path(sys.executable).with_name("bentoml"))
    os.execv(bentoml, [bentoml, "serve", tag, "--host", host, "--port", str(port)])
