"""What a log keeps in memory: the newest pieces within a bound, and the size of what fell out before them."""

from collections import deque


class Newest:
    """The newest pieces of what is handed in, and how much was there before them."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self.parts: deque[tuple[bytes, int]] = deque()  # and of which stream
        self.held_bytes = self.dropped_bytes = 0

    def __bool__(self) -> bool:
        return bool(self.parts or self.dropped_bytes)

    def add(self, data: bytes, stream: int) -> None:
        """The newest of all."""
        kept = data[-self._most_bytes :]
        self.parts.append((kept, stream))
        self.held_bytes += len(kept)
        self.dropped_bytes += len(data) - len(kept)
        while self.held_bytes > self._most_bytes:
            excess = self.held_bytes - self._most_bytes
            first, of = self.parts.popleft()
            if len(first) > excess:
                self.parts.appendleft((first[excess:], of))
            gone = min(len(first), excess)
            self.held_bytes -= gone
            self.dropped_bytes += gone

    def take(self) -> tuple[bytes, int]:
        """The first of them."""
        first = self.parts.popleft()
        self.held_bytes -= len(first[0])
        return first

    def give_back(self, data: bytes, stream: int) -> None:
        """The rest of what was taken."""
        self.parts.appendleft((data, stream))
        self.held_bytes += len(data)
