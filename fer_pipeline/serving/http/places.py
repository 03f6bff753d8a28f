"""Places for what is served at the same time, with a share for each address."""

from __future__ import annotations

import ipaddress
import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.requests import HTTPConnection

from fer_pipeline.serving.http.uploads import RefusedError

_PREFIX_IPV6 = 64  # so many bits name a network; its owner has all addresses in it


def client_address(connection: HTTPConnection) -> str:
    """Return the address that a request counts for: of IPv6 the network."""
    host = connection.client.host if connection.client else ""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:  # a socket without addresses
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, _PREFIX_IPV6), strict=False))


def share_of(most: int, percent: int) -> int:
    """Return how many of `most` places one address may have; at least one."""
    return math.ceil(most * percent / 100)


class Places:
    """Places of one kind; for one thread."""

    def __init__(self, most: int, percent: int = 100) -> None:
        """`percent` is the share of one address."""
        self._most = most
        self._share = share_of(most, percent)
        self._by_client: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._by_client.total()

    @contextmanager
    def taken(self, client: str, retry_seconds: int = 1) -> Iterator[None]:
        """Have a place while the block runs.

        Raises `RefusedError` (429) where all places are taken, or the share of this client is.
        """
        if len(self) >= self._most:
            message = f"too many requests at once; try again in {retry_seconds} s"
            raise RefusedError(429, "overloaded", message, retry_seconds)
        if self._by_client[client] >= self._share:
            message = f"{self._share} of these come from your address at once, which is its share; try again when one is done"
            raise RefusedError(429, "share_taken", message, retry_seconds)
        self._by_client[client] += 1
        try:
            yield
        finally:
            self._by_client[client] -= 1
            if not self._by_client[client]:
                del self._by_client[client]
