"""The BentoML service around the HTTP routes of `serving.api`.

From the root of the repository, once data/bundle holds a packaged model: `bentoml serve fer_pipeline.serving.service:Fer`;
a packaged bento from anywhere: `bentoml serve fer:VERSION`. Both answer on port 3000; add `--host 127.0.0.1` to keep it to
this machine. `FER_MODEL_DIR` names another exported model, `FER_TOKEN` a secret that all but the page and GET requests then need;
`uploads.Limits` lists what else the environment sets. Videos lie in a private folder of TMPDIR until their results are deleted.
"""

from __future__ import annotations

import os
from pathlib import Path

import bentoml

from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.serving.api import create_app, open_desk
from fer_pipeline.serving.desk import Desk
from fer_pipeline.serving.jobs import Jobs, shared_root
from fer_pipeline.serving.uploads import Limits

# The same place relative to this file in the repository and in the bento.
BUNDLE = Path(__file__).resolve().parents[2] / "data" / "bundle"

app = create_app()


# Admission and slow uploads are the business of the desk and the uploads, which say 429 and 408; BentoML's own limits would also
# count the page and live cameras, and answer 504.
@bentoml.service(name="fer", traffic={"timeout": 1200})
@bentoml.asgi_app(app, path="/")
class Fer:
    """Loads the model before the first request; a model that does not load keeps the service from becoming ready."""

    def __init__(self) -> None:
        model_folder = Path(os.environ.get("FER_MODEL_DIR", BUNDLE))
        limits = Limits.read(os.environ)
        self._jobs = Jobs(shared_root(), model_folder, limits)
        open_desk(app, Desk(Recognizer.load(model_folder), limits, os.environ.get("FER_TOKEN")), self._jobs)

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def close(self) -> None:
        """Ends the analysis of videos and removes all that is kept of them."""
        self._jobs.close()
