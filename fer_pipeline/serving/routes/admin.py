"""The route for operators: serve the model that now lies in the model's folder."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field

from fer_pipeline.errors import ModelError, ToolUnavailableError
from fer_pipeline.serving.http.auth import require_token
from fer_pipeline.serving.http.model_schemas import Lineage, lineage
from fer_pipeline.serving.http.schemas import refusals
from fer_pipeline.serving.http.uploads import RefusedError
from fer_pipeline.serving.state import ServiceState

router = APIRouter(prefix="/admin", dependencies=[Depends(require_token)], tags=["admin"])


class Reloaded(BaseModel):
    """Which model the worker that answers serves now."""

    changed: bool = Field(description="false where the folder holds the model that it served before")
    model: Lineage


@router.post("/reload", response_model=Reloaded, responses=refusals(401, 403, 422, 429))
async def reload(request: Request) -> Any:
    """Load the model's folder anew.

    A model that does not work is refused, and the old one stays in all workers. The other workers of the service begin to
    load it within a second of the answer; where one fails, its log says so, and `fer_model_reloads_total` counts it.
    """
    service: ServiceState = request.app.state.service
    watcher = service.watcher
    if watcher is None or not service.admission.has_token:
        raise RefusedError(403, "no_token_set", "only a service with a token is told to reload: start it with FER_TOKEN")
    try:
        changed = await service.admission.run(request, watcher.reload_all)
    except ModelError as error:
        raise RefusedError(422, "model_not_loaded", f"{error}; the model before goes on answering") from error
    except ToolUnavailableError as error:
        words = (
            f"this worker serves {service.recognizer.info.fingerprint} now, the others could not be told: {error}; then ask again"
        )
        raise RefusedError(429, "others_not_told", words) from error
    return {"changed": changed, "model": lineage(service.recognizer)}
