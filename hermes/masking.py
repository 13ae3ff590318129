"""Takes secrets out of what a program prints, while it prints: whatever the pieces are in which it comes, the
same bytes stay. Standard library only: the keeper of output masks, too (hermes.keeper).

A match is found in time that does not depend on how many secrets there are (Wu and Manber's way): every form
has at least LEAST_BYTES, so one of four bytes at a multiple of five lies whole within its beginning."""

from collections.abc import Iterable, Sequence

from hermes.secret_forms import LEAST_BYTES, forms_of

STARS = b"***"
REST_S = 0.5  # of silence are a rest
_GRAM = 4
_STEP = LEAST_BYTES - _GRAM + 1
_SHOWN_AT_REST = 3  # bytes of what may be the beginning of a secret, when the program pauses there


class Masker:
    """One stream of bytes. `feed` it, tell it of a `rest`, and `end` it; each returns what may be shown.

    What overlaps is one mask. Held back is only what may yet become (a form of) a secret."""

    def __init__(self, values: Iterable[str]) -> None:
        self._by_head: dict[bytes, list[bytes]] = {}
        for form in sorted(forms_of(values), key=len, reverse=True):
            self._by_head.setdefault(form[:LEAST_BYTES], []).append(form)
        heads = self._by_head
        self._grams = {head[at : at + _GRAM] for head in heads for at in range(_STEP)}
        self._beginnings = {head[:length] for head in heads for length in range(1, LEAST_BYTES)}
        self._held = b""  # may be the beginning of a secret
        self._masked = 0  # so many bytes of it are behind stars that were shown
        self._shown = 0  # so many bytes of it were shown

    def feed(self, data: bytes) -> bytes:
        """What came."""
        whole = self._held + data
        found, held_from = self._look(whole)
        return self._show(whole, found, held_from)

    def end(self) -> bytes:
        """Nothing comes any more: it was the beginning of nothing."""
        found, _ = self._look(self._held)
        return self._show(self._held, found, len(self._held))

    def rest(self) -> bytes:
        """The program pauses: a few bytes (the `a` of a prompt `a, b or c?`) are shown. Should they have been
        the beginning of a secret, all that follows of it is masked."""
        if not self.may_show_at_rest:
            return b""
        shown, self._shown = self._held[max(self._masked, self._shown) :], len(self._held)
        return shown

    @property
    def may_show_at_rest(self) -> bool:
        """Whether `rest` would show something."""
        return max(self._masked, self._shown) < len(self._held) <= _SHOWN_AT_REST

    def _look(self, whole: bytes) -> tuple[list[tuple[int, int]], int]:
        """All secrets, as (start, end), in their order; and from where on the rest may become one."""
        found, held_from, size = [], len(whole), len(whole)
        for length in range(min(LEAST_BYTES - 1, size), 0, -1):
            if whole[size - length :] in self._beginnings:
                held_from = size - length
                break
        for start in self._candidates(whole):
            for form in self._by_head[whole[start : start + LEAST_BYTES]]:  # the longest first
                if start + len(form) <= size:
                    if whole.startswith(form, start):
                        found.append((start, start + len(form)))
                        break
                elif start < held_from and form.startswith(whole[start:]):
                    held_from = start
        return found, held_from

    def _candidates(self, whole: bytes) -> Sequence[int]:
        """Where a secret may begin whose first bytes are all there."""
        grams, heads = self._grams, self._by_head
        hits = [at for at in range(0, len(whole) - _GRAM + 1, _STEP) if whole[at : at + _GRAM] in grams]
        starts = {at - back for at in hits for back in range(min(_STEP, at + 1))}
        return sorted(at for at in starts if whole[at : at + LEAST_BYTES] in heads)

    def _show(self, whole: bytes, found: Iterable[tuple[int, int]], held_from: int) -> bytes:
        """All before `held_from`, secrets as stars; the rest is held."""
        masked, done = self._masked, max(self._masked, self._shown)
        parts = []
        for start, end in found:
            if start >= held_from and start >= masked:
                break
            if end <= masked:
                continue
            if start >= masked:  # else it is behind the stars of the one that it overlaps
                parts += [whole[done:start], STARS]
            masked = done = end
        if done < held_from:
            parts.append(whole[done:held_from])
            done = held_from
        self._held = whole[held_from:]
        self._masked, self._shown = max(masked - held_from, 0), max(self._shown - held_from, 0)
        return b"".join(parts)
