"""Client of the service: `Client`, and `AsyncClient` with the same methods."""

from fer_pipeline.client.answers import Box, Face, Model, Picture, Prediction, ServiceError, VideoState
from fer_pipeline.client.calls import AsyncClient, Client

__all__ = ["AsyncClient", "Box", "Client", "Face", "Model", "Picture", "Prediction", "ServiceError", "VideoState"]
