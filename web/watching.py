"""How many people watch the same thing now, through this server."""

from collections import Counter


class Watching:
    """Counts the streams of each subject."""

    def __init__(self) -> None:
        self._counts: Counter[object] = Counter()

    def of(self, subject: object) -> int:
        """So many streams are open."""
        return self._counts[subject]

    def total(self) -> int:
        """Streams of all subjects."""
        return self._counts.total()

    def one_more(self, subject: object) -> int:
        """Somebody begins to watch; how many there are now."""
        self._counts[subject] += 1
        return self._counts[subject]

    def one_less(self, subject: object) -> None:
        """They have left."""
        self._counts[subject] -= 1
        if not self._counts[subject]:
            del self._counts[subject]
