"""Read and write files of a file system or a bucket through one interface.

Buckets are accessed with pyarrow's clients, in driver and executors, so Spark needs no packages for them. Keys and endpoints come
from the environment of each process and never from a URI, because URIs are written to logs.
"""

from __future__ import annotations

import re
from pathlib import Path

from fer_pipeline.data.storage.bucket import SETTINGS, BucketLocation
from fer_pipeline.data.storage.local import LocalLocation
from fer_pipeline.data.storage.location import StorageLocation
from fer_pipeline.errors import ParamsError

_SCHEMES = {"s3": "s3", "s3a": "s3", "gs": "gs"}  # s3a is Spark's scheme


def storage_location(address: str | Path, below: Path = Path()) -> StorageLocation:
    """Return the location of a path, s3://BUCKET/NAME (s3a://) or gs://BUCKET/NAME.

    Relative paths are below `below`. Raises `ParamsError` for other URIs, and for URIs with keys or settings.
    """
    found = re.fullmatch(r"([A-Za-z][\w+.-]*)://([^/]*)(.*)", address, re.DOTALL) if isinstance(address, str) else None
    if found is None:
        return LocalLocation((below / address).resolve())
    scheme, bucket, name = _SCHEMES.get(found[1].lower()), found[2], found[3].strip("/")
    if scheme is None:
        raise ParamsError(f"{found[1]}:// is not known: expected a path, s3://BUCKET/NAME or gs://BUCKET/NAME")
    if not re.fullmatch(r"[\w.-]+", bucket) or "?" in name:  # the address is not repeated: it may hold keys
        raise ParamsError(
            f"expected {scheme}://BUCKET/NAME, got an address of this kind with other parts or without bucket: keys and settings "
            f"belong in the environment ({SETTINGS[scheme]})"
        )
    return BucketLocation(scheme, f"{bucket}/{name}".rstrip("/"))
