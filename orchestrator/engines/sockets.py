"""Sockets of engines on this machine."""

import socket


def knock(where: str) -> None:
    """Raise OSError if nobody listens at a local socket: the SDK would raise too, but leak an open socket."""
    if where.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(where.removeprefix("unix://"))
