"""Health check of the object store's stand-in, which has no page for it."""

import socket

socket.create_connection(("127.0.0.1", 7070), timeout=5).close()
