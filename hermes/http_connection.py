"""What one connection of ours makes of HTTP/1.1: h11's reading of it, and two things that proxies rely on."""

import h11


class StrictConnection(h11.Connection):
    """h11, without what a proxy in front of us may read in another way, and saying when it ends."""

    def __init__(self, head_bytes: int) -> None:
        super().__init__(h11.SERVER, head_bytes)
        self._head_bytes = head_bytes

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """As h11's."""
        event = super().next_event()
        if isinstance(event, h11.Request):
            if event.http_version not in (b"1.0", b"1.1"):
                raise h11.RemoteProtocolError("another version of HTTP")
            names = {name for name, _ in event.headers}
            if b"transfer-encoding" in names and (b"content-length" in names or event.http_version == b"1.0"):
                raise h11.RemoteProtocolError("two lengths of one body")
            size = sum(len(name) + len(value) + 4 for name, value in event.headers) + len(event.target)
            if size > self._head_bytes:  # h11 looks only at heads that came in pieces
                raise h11.RemoteProtocolError("too long a head", error_status_hint=431)
        return event

    def send(self, event: h11.Event) -> bytes | None:  # type: ignore[override]  # theirs has overloads
        """As h11's. An answer given before its request was read is the connection's last, which is said: a
        proxy that would use it again sends the next request into the void (502)."""
        if isinstance(event, h11.Response) and self.their_state is h11.SEND_BODY:
            event = h11.Response(
                status_code=event.status_code,
                headers=[*event.headers, (b"connection", b"close")],
                reason=event.reason,
            )
        return super().send(event)
