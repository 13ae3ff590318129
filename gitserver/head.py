"""The beginning of a push: its commands, and the head of its pack, read before anything is decided."""

from gitserver import protocol
from gitserver.body import Body

HEADER_BYTES = 12  # of a pack


async def read_head(body: Body) -> protocol.PushHead:
    """The commands at the start; the pack's own head is read ahead as well. Raises BadProtocol."""
    data, at = bytearray(), 0
    head: protocol.PushHead | None = None
    async for chunk in body:
        data += chunk
        flushed = head is None
        while head is None and flushed:
            at, flushed = protocol.skip_lines(data, at)
            head = protocol.parse_head(bytes(data)) if flushed else None
        if head is not None and (not head.has_pack or len(data) >= head.size_bytes + HEADER_BYTES):
            break
    if head is None:
        raise protocol.BadProtocol("the request ended in the middle of its commands")
    body.put_back(bytes(data))
    return head
