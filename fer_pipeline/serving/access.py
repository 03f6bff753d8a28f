"""The optional token of the service."""

from __future__ import annotations

from typing import Annotated

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from fer_pipeline.serving.desk import Desk

_BEARER = HTTPBearer(auto_error=False, description="The value of FER_TOKEN, where the operator has set one.")


async def require_token(request: Request, bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]) -> None:
    """Raises `RefusedError` where the service has a token and the request another one or none."""
    desk: Desk = request.app.state.desk
    desk.check_token(bearer.credentials if bearer else None)
