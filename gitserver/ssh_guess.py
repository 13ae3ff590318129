"""A client may send the first packet of a key exchange before it knows which exchange it is (RFC 4253, 7).

The guess was right only if both sides like the same exchange and the same host key best; asyncssh (2.24)
also takes it as right when the client's favourite is merely chosen, and then meets a packet that it does not
expect. Dropbear's client, which small systems have, always guesses."""

from collections.abc import Sequence
from typing import NamedTuple

import asyncssh
from asyncssh.packet import SSHPacket

_LISTS = 10  # of names, in a KEXINIT (RFC 4253, 7.1)


class _Favourites(NamedTuple):
    exchange: bytes
    host_key: bytes
    guessed: bool


def judge_guesses(connection: asyncssh.SSHServerConnection) -> None:
    """Go by the RFC on this connection."""
    choose = connection.choose_server_host_key

    def choose_and_judge(peer_host_key_algs: Sequence[bytes]) -> bool:
        theirs, ours = _read(connection._client_kexinit), _read(connection._server_kexinit)
        if theirs.guessed and theirs[:2] != ours[:2]:
            connection._ignore_first_kex = True
        return choose(peer_host_key_algs)

    connection.choose_server_host_key = choose_and_judge  # type: ignore[method-assign]


def _read(kexinit: bytes) -> _Favourites:
    packet = SSHPacket(kexinit)
    packet.get_bytes(1 + 16)
    lists = [packet.get_namelist() for _ in range(_LISTS)]
    first = [names[0] if names else b"" for names in lists[:2]]
    return _Favourites(first[0], first[1], packet.get_boolean())
