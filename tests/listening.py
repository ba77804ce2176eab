"""At which addresses processes listen. Linux only."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

LISTEN = "0A"  # a socket's state in /proc/net/tcp


def listening(pids: Iterable[int]) -> dict[tuple[str, int], str]:
    """By address and port, the name of the process among these that listens there."""
    sockets = {inode: place for table in ("tcp", "tcp6") for inode, place in _sockets(table)}
    found = {}
    for pid in pids:
        try:
            name = Path(f"/proc/{pid}/comm").read_text().strip()
            links = [link.readlink().name for link in Path(f"/proc/{pid}/fd").iterdir()]
        except OSError:
            continue  # it has ended meanwhile
        for inode in (link.removeprefix("socket:[").rstrip("]") for link in links):
            if inode in sockets:
                found[sockets[inode]] = name
    return found


def on_loopback(address: str) -> bool:
    """Whether only this machine reaches an address."""
    ip = ip_address(address)
    return (getattr(ip, "ipv4_mapped", None) or ip).is_loopback


def _sockets(table: str) -> Iterable[tuple[str, tuple[str, int]]]:
    for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
        _, local, _, state, *_, inode = line.split()[:10]
        if state == LISTEN:
            address, port = local.split(":")
            # words of four bytes, each in the machine's own order
            packed = b"".join(bytes.fromhex(address[at : at + 8])[::-1] for at in range(0, len(address), 8))
            ip = IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)
            yield inode, (str(ip), int(port, 16))
