"""The BentoML service around the HTTP routes of `serving.api`.

From the root of the repository, once data/bundle holds a packaged model: `bentoml serve fer_pipeline.serving.service:Fer`;
a packaged bento from anywhere: `bentoml serve fer:VERSION`. Both answer on port 3000; add `--host 127.0.0.1` to keep it to
this machine. `FER_MODEL_DIR` names another exported model; `uploads.Limits` lists what else the environment sets.
"""

from __future__ import annotations

import os
from pathlib import Path

import bentoml

from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.serving.api import create_app, open_desk
from fer_pipeline.serving.uploads import Limits

# The same place relative to this file in the repository and in the bento.
BUNDLE = Path(__file__).resolve().parents[2] / "data" / "bundle"

app = create_app()


# Admission is the desk's business, which says 429 with Retry-After; BentoML's own limit would also count the page.
@bentoml.service(name="fer", traffic={"timeout": 30})
@bentoml.asgi_app(app, path="/")
class Fer:
    """Loads the model before the first request; a model that does not load keeps the service from becoming ready."""

    def __init__(self) -> None:
        model_folder = Path(os.environ.get("FER_MODEL_DIR", BUNDLE))
        open_desk(app, Recognizer.load(model_folder), Limits.read(os.environ))
