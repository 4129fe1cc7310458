"""LIKE: `%` is any text, `_` one character. Linear in the text for each part of the pattern, whatever the pattern.

A regular expression for `%a%a%a%b` would try every way to split the text; here the parts between the `%` are found one
after the other, each as far left as possible, which is all that LIKE needs.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache


@lru_cache(maxsize=1024)
def like_matcher(pattern: str, escape: str = "") -> Callable[[str], bool]:
    """A function that says whether a text matches. An escape at the pattern's end stands for itself."""
    segments = _segments(pattern, escape)
    if len(segments) == 1:
        whole = re.compile(segments[0], re.DOTALL).fullmatch
        return lambda text: whole(text) is not None
    first = re.compile(segments[0], re.DOTALL).match
    last = re.compile(segments[-1], re.DOTALL).fullmatch
    last_chars = _chars(segments[-1])
    middle = [re.compile(segment, re.DOTALL).search for segment in segments[1:-1] if segment]

    def matches(text: str) -> bool:
        found = first(text)
        if found is None:
            return False
        offset = found.end()
        for search in middle:
            found = search(text, offset)
            if found is None:
                return False
            offset = found.end()
        begin = len(text) - last_chars
        return begin >= offset and last(text, begin) is not None

    return matches


def _segments(pattern: str, escape: str) -> list[str]:
    """The parts between the `%`, as regular expressions without repetition."""
    segments = [""]
    literal = False
    for index, char in enumerate(pattern):
        if not literal and char == escape and index + 1 < len(pattern):
            literal = True
            continue
        if not literal and char == "%":
            segments.append("")
        else:
            segments[-1] += "." if char == "_" and not literal else re.escape(char)
        literal = False
    return segments


def _chars(segment: str) -> int:
    """How many characters a segment matches: an escaped character counts once."""
    return len(re.sub(r"\\(.)", r"\1", segment, flags=re.DOTALL))
