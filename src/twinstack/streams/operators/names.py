"""Keys as small integers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from twinstack.streams.operators.seam import Integers

NAME_BYTES = 200
"""About what a key takes here: its bytes, an entry of the dictionary, a pointer."""


class Names:
    """The codes of keys, in the order in which they were first seen. NULL is -1."""

    def __init__(self) -> None:
        self.texts: list[bytes] = []
        self._codes = _Codes(self.texts)

    @property
    def nbytes(self) -> int:
        return NAME_BYTES * len(self.texts)

    def codes(self, keys: Sequence[bytes | None]) -> Integers:
        return np.fromiter(map(self._codes.__getitem__, keys), np.int64, len(keys))

    def keep(self, codes: Sequence[Integers]) -> Integers | None:
        """Forgets codes that are in none of `codes` when most are not. None, or the new code of each old one; their
        order stays."""
        if len(self.texts) < 2 * max(map(len, codes)) + 1024:
            return None
        flags = np.zeros(len(self.texts), np.bool_)
        for some in codes:
            flags[some] = True
        used = np.flatnonzero(flags)
        new = np.full(len(self.texts), -1, np.int64)
        new[used] = np.arange(len(used))
        self.texts[:] = [self.texts[code] for code in used.tolist()]
        self._codes.clear()
        self._codes[None] = -1
        self._codes.update({text: code for code, text in enumerate(self.texts)})
        return new


class _Codes(dict[bytes | None, int]):
    """Looked up in C for all keys but those that are seen for the first time."""

    def __init__(self, texts: list[bytes]) -> None:
        super().__init__({None: -1})
        self._texts = texts

    def __missing__(self, key: bytes | None) -> int:
        assert key is not None
        code = self[key] = len(self._texts)
        self._texts.append(key)
        return code
