"""Ports on which a service listens."""

from __future__ import annotations

import psutil


def open_ports(first: int) -> set[int]:
    """Return the ports, TCP and UDP, on which a process or one that it started listens."""
    process = psutil.Process(first)
    return {
        connection.laddr.port
        for each in [process, *process.children(recursive=True)]
        for connection in each.net_connections("inet")
        if not connection.raddr
    }
