"""Say by the exit code whether an address answers: the health check of our own servers in compose.yaml.

Its command has no spaces, at which Podman's interface for Compose would split it.
"""

from __future__ import annotations

import http.client
import sys
from urllib.parse import urlsplit

address = urlsplit(sys.argv[1])
connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=5)
try:
    connection.request("GET", address.path)
    status = connection.getresponse().status
except OSError as error:
    sys.exit(f"{address.geturl()} does not answer: {error}")
if status != http.client.OK:
    sys.exit(f"{address.geturl()} was answered {status}, expected 200")
