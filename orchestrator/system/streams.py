"""Size-limited streams for untrusted archives."""

import io
from collections.abc import Iterable


class Limited(io.RawIOBase):
    """A stream of chunks for ``tarfile``; raises ``refusal`` once they have more than ``most`` bytes in all."""

    def __init__(self, chunks: Iterable[bytes], most: int, refusal: Exception) -> None:
        self._chunks, self._rest, self._left, self._refusal = iter(chunks), b"", most, refusal

    def read(self, size: int = -1) -> bytes:
        """Return at most ``size`` bytes, as raw streams do: the rest of a chunk; none at the end."""
        if not self._rest:
            self._rest = next(self._chunks, b"")
            self._left -= len(self._rest)
            if self._left < 0:
                raise self._refusal
        end = size if size >= 0 else len(self._rest)
        taken, self._rest = self._rest[:end], self._rest[end:]
        return taken
