"""Text of a query to tokens, and every error of a query to a place in its text.

Generic: a grammar brings a `Lexicon`, a table of rules in the order in which they are tried. `Source` holds the text
and turns a span of it into line, column and a caret line, so that no other module counts lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from twinstack.core import limits
from twinstack.core.errors import QueryError

END = "END"
"""Kind of the last token of every text."""
WORD = "WORD"
"""Kind of a name that the grammar reserves as an operator; its symbol is the operator's name."""

SINGLE_QUOTES = "‘’‚‛′"
DOUBLE_QUOTES = "“”„‟″"
"""Quotes that word processors and chats put in place of ' and \"."""

_CARET_CHARS_MAX = 100


class Span(NamedTuple):
    """Offsets of characters in the text, `end` excluded."""

    start: int
    end: int

    def to(self, other: Span) -> Span:
        return Span(self.start, max(self.end, other.end))


@dataclass(frozen=True, slots=True)
class Token:
    """`symbol` is what a grammar's tables are keyed by: an operator's text or name, else the kind."""

    kind: str
    symbol: str
    text: str
    value: Any
    span: Span


class Source:
    """The text of one query. Errors: QueryError when it is longer than the limit or holds half a character."""

    def __init__(self, text: str) -> None:
        self.text = text
        half = re.search(r"[\ud800-\udfff]", text)
        if half:
            raise self.error(
                "The text holds half a character (a lone surrogate).", Span(half.start(), half.end()), fix="Remove it."
            )
        size = len(text.encode("utf-8"))
        if size > limits.QUERY_BYTES_MAX:
            raise self.error(
                f"The text has {size} bytes, at most {limits.QUERY_BYTES_MAX} fit.",
                Span(0, 1),
                fix="Shorten it, for example with IN or LIKE in place of many comparisons.",
            )

    def place(self, offset: int) -> tuple[int, int]:
        """Line and column of an offset, both from 1."""
        before = self.text[:offset]
        return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1

    def slice(self, span: Span) -> str:
        return self.text[span.start : span.end]

    def caret(self, span: Span) -> str:
        """The line of the span and, under it, a line of carets; a long line is cut around the span."""
        begin = self.text.rfind("\n", 0, span.start) + 1
        end = self.text.find("\n", span.start)
        line = self.text[begin : end if end >= 0 else len(self.text)].rstrip("\r")
        column = span.start - begin
        cut = max(0, column - _CARET_CHARS_MAX // 2)
        shown = line[cut : cut + _CARET_CHARS_MAX]
        # A tab stays a tab, so that the caret stands under its character whatever width a tab has.
        indent = "".join("\t" if c == "\t" else " " for c in shown[: column - cut])
        width = max(1, min(span.end - span.start, len(shown) - (column - cut)))
        return f"{shown}\n{indent}{'^' * width}"

    def error(self, message: str, span: Span, *, expected: str = "", fix: str = "", **fields: Any) -> QueryError:
        """A QueryError at `span`; `expected` says what could stand there."""
        line, column = self.place(span.start)
        if expected:
            message = f"{message} Expected {expected}."
            fields["expected"] = expected
        where = f"Line {line}, column {column}: {message}"
        return QueryError(where, line=line, column=column, caret=self.caret(span), fix=fix, **fields)


@dataclass(frozen=True, slots=True)
class Rule:
    """Text that matches `pattern` is a token of `kind`; `value` reads it and may raise `source.error(...)`.

    A rule without a kind is skipped text: blanks and comments.
    """

    kind: str
    pattern: str
    value: Callable[[Source, str, Span], Any] | None = None
    is_operator: bool = False


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Rules in order, and the names that are operators (`words`: spelling to symbol).

    `fold` makes the spelling of words indifferent to case; `words` then has it in upper case. `hint` is the fix of a
    character that begins no token.
    """

    rules: tuple[Rule, ...]
    words: Mapping[str, str]
    fold: bool
    hint: str
    name_kind: str = "NAME"
    master: re.Pattern[str] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        groups = "|".join(f"(?P<r{i}>{rule.pattern})" for i, rule in enumerate(self.rules))
        object.__setattr__(self, "master", re.compile(groups, re.DOTALL))


def scan(source: Source, lexicon: Lexicon, span: Span | None = None) -> list[Token]:
    """The tokens of the text (or of a span of it), an END token last. Errors: QueryError."""
    offset, end = span or Span(0, len(source.text))
    tokens: list[Token] = []
    while offset < end:
        match = lexicon.master.match(source.text, offset, end)
        if match is None or match.end() == offset:
            raise _unreadable(source, offset, lexicon)
        rule = lexicon.rules[int((match.lastgroup or "r0")[1:])]
        offset = match.end()
        if rule.kind:
            tokens.append(_token(source, lexicon, rule, match.group(), Span(*match.span())))
    tokens.append(Token(END, END, "", None, Span(end, end)))
    return tokens


def _token(source: Source, lexicon: Lexicon, rule: Rule, text: str, span: Span) -> Token:
    if rule.is_operator:
        return Token(rule.kind, text, text, text, span)
    if rule.kind == lexicon.name_kind:
        word = lexicon.words.get(text.upper() if lexicon.fold else text)
        if word is not None:
            return Token(WORD, word, text, text, span)
    value = text if rule.value is None else rule.value(source, text, span)
    return Token(rule.kind, rule.kind, text, value, span)


def _unreadable(source: Source, offset: int, lexicon: Lexicon) -> QueryError:
    char = source.text[offset]
    if char in "'\"" + SINGLE_QUOTES + DOUBLE_QUOTES:
        return source.error(
            f"The quote {char} is never closed.",
            Span(offset, offset + 1),
            fix="Close it, or double a quote that belongs to the text: 'the stranger''s car'.",
        )
    return source.error(f"The character {char!r} has no meaning here.", Span(offset, offset + 1), fix=lexicon.hint)


def quoted(_source: Source, text: str, _span: Span) -> str:
    """The text between its first and last character, with doubled closing quotes read as one."""
    closing = text[-1]
    return text[1:-1].replace(closing * 2, closing)


def integer_or_float(source: Source, text: str, span: Span) -> int | float:
    """An int within 64 bits, else the nearest float. Errors: QueryError for a number that no float can hold."""
    if text.isdecimal() and len(text) <= 19 and int(text) < 2**63:
        return int(text)
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise source.error("The number is too large.", span, fix="The largest number is about 1.8e308.")
    return number
