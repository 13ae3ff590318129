"""Takes secrets out of what a program prints, while it prints: whatever the pieces are in which it comes, the
same bytes stay. Standard library only: the keeper of output masks, too (hermes.keeper).

A match is found in time that hardly depends on how many secrets there are, or on who chose them: every form
has at least LEAST_BYTES, so four bytes at a multiple of five lie whole within its head (Wu and Manber's way);
those that share a head are searched by bisection."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise

from hermes.secret_forms import LEAST_BYTES, forms_of

STARS = b"***"
REST_S = 0.5  # of silence are a rest
_GRAM = 4
_STEP = LEAST_BYTES - _GRAM + 1
_SHOWN_AT_REST = 3  # bytes of what may be the beginning of a secret, when the program pauses there


class _Family:
    """All forms with the same head."""

    def __init__(self, forms: Iterable[bytes]) -> None:
        self._forms = sorted(forms)
        self.longest_bytes = max(map(len, self._forms))
        self._within = {self._forms[0]: b""}  # {form: the longest other one that it begins with}
        for before, form in pairwise(self._forms):
            while before and not form.startswith(before):
                before = self._within[before]
            self._within[form] = before

    def begins(self, data: bytes) -> bytes:
        """The longest form that these bytes begin with; empty: none. It lies within the last one of the order
        that does not come after them."""
        form = self._forms[at - 1] if (at := bisect_right(self._forms, data)) else b""
        while not data.startswith(form):
            form = self._within[form]
        return form

    def may_become(self, data: bytes) -> bool:
        """Whether a longer one begins with these bytes."""
        at = bisect_right(self._forms, data)
        return at < len(self._forms) and self._forms[at].startswith(data)


class Masker:
    """One stream of bytes. `feed` it, tell it of a `rest`, and `end` it; each returns what may be shown.

    What overlaps is one mask. Held back is only what may yet become (a form of) a secret."""

    def __init__(self, values: Iterable[str]) -> None:
        heads: dict[bytes, list[bytes]] = {}
        for form in forms_of(values):
            heads.setdefault(form[:LEAST_BYTES], []).append(form)
        self._families = {head: _Family(forms) for head, forms in heads.items()}
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
            family = self._families[whole[start : start + LEAST_BYTES]]
            data = whole[start : start + family.longest_bytes]
            if form := family.begins(data):
                found.append((start, start + len(form)))
            if len(data) < family.longest_bytes and start < held_from and family.may_become(data):
                held_from = start
        return found, held_from

    def _candidates(self, whole: bytes) -> Sequence[int]:
        """Where a secret may begin whose first bytes are all there."""
        grams, heads = self._grams, self._families
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
