"""Ports of loopback that nobody listens on."""

import socket


def free_ports(count: int) -> list[int]:
    """As many different ones; they stay free until somebody else takes them."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
