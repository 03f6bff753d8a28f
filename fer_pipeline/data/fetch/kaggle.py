"""Download a data set from Kaggle; needs the extra `kaggle` and the network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from fer_pipeline.errors import SourceError, ToolUnavailableError
from fer_pipeline.workspace.files import replaced_folder

PREFIX: Final = "kaggle:"
"""How the name of a data set on Kaggle starts."""

_NAME: Final = re.compile(r"kaggle:(?P<handle>[A-Za-z0-9_-]+/[A-Za-z0-9_-]+(?:/versions/[0-9]+)?)")
_TOKEN_HELP: Final = (
    "get a token at https://www.kaggle.com/settings (API, Create New Token) and put it into ~/.kaggle/kaggle.json, or set "
    "KAGGLE_USERNAME and KAGGLE_KEY"
)


def download(dataset: str, out: Path) -> Path:
    """Download a data set into a folder of its own in `out`; return that folder.

    `dataset` is `kaggle:OWNER/SET` or `kaggle:OWNER/SET/versions/N`. Raises `SourceError` where the name is malformed or Kaggle
    has no such set, `ToolUnavailableError` where the extra `kaggle`, the network or a token is missing. What was in that folder
    before then stays.
    """
    match = _NAME.fullmatch(dataset)
    if match is None:
        raise SourceError(f"{dataset!r} is no data set of Kaggle: expected kaggle:OWNER/SET, such as kaggle:msambare/fer2013")
    try:
        import kagglehub  # an optional extra
        from kagglehub.exceptions import DataCorruptionError, KaggleApiHTTPError, UnauthenticatedError
        from requests import RequestException  # the client that kagglehub uses and whose errors it lets through
    except ModuleNotFoundError as error:
        raise ToolUnavailableError(
            f"{dataset}: package {error.name} is not installed: run "
            "`pip install 'fer-pipeline[kaggle]'`, in a clone `make install EXTRAS=kaggle`"
        ) from error
    handle = match["handle"]
    target = out / handle.split("/")[1]
    try:
        with replaced_folder(target) as folder:
            kagglehub.dataset_download(handle, output_dir=str(folder), force_download=True)
    except UnauthenticatedError as error:
        raise ToolUnavailableError(f"{dataset}: Kaggle wants a token ({_first_line(error)}): {_TOKEN_HELP}") from error
    except KaggleApiHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        if status in (401, 403):
            raise ToolUnavailableError(
                f"{dataset}: Kaggle refused access ({status}): accept its terms there, and {_TOKEN_HELP}"
            ) from error
        if status == 404:
            raise SourceError(f"{dataset}: Kaggle has no such data set: check owner and name on its page") from error
        raise ToolUnavailableError(f"{dataset}: Kaggle answered {_first_line(error)}: try again later") from error
    except RequestException as error:
        raise ToolUnavailableError(f"{dataset}: Kaggle cannot be reached ({_first_line(error)}): check the network") from error
    except (DataCorruptionError, OSError) as error:
        raise ToolUnavailableError(f"{dataset}: the download failed ({_first_line(error)}): check network and disk") from error
    return target


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
