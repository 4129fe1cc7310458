"""StreamSQL's tokens: names, numbers, texts in single quotes, operators; words are indifferent to case.

A word processor's quotes count as quotes. A text that begins with ' ends at the next ', so that `'Peter’s car'` is one
text; one that begins with a typographic quote ends at the next typographic quote. Straight double quotes hold a column
name that is no plain name: `"parameters"."oil temp."`. Quotes around the whole query are dropped.
"""

from __future__ import annotations

from typing import NoReturn

from twinstack.query.tokens import (
    DOUBLE_QUOTES,
    SINGLE_QUOTES,
    Lexicon,
    Rule,
    Source,
    Span,
    Token,
    integer_or_float,
    quoted,
    scan,
)

_FOREIGN = {
    "==": "Write = for 'equals'.",
    "=>": "Write >= for 'at least'.",
    "=<": "Write <= for 'at most'.",
    "&&": "Write AND.",
    "||": "Write OR, or CONCAT(a, b) to join texts.",
    "!": "Write NOT, or <> for 'is not'.",
    "&": "Write AND.",
    "|": "Write OR.",
    "**": "Write ^ for a power.",
}
_ALIASES = {"≤": "<=", "≥": ">=", "≠": "<>", "!=": "<>", "−": "-", "×": "*", "÷": "/"}

RESERVED = frozenset(
    [
        "AND",
        "OR",
        "NOT",
        "XOR",
        "IN",
        "BETWEEN",
        "LIKE",
        "IS",
        "NULL",
        "TRUE",
        "FALSE",
        "CASE",
        "WHEN",
        "THEN",
        "ELSE",
        "END",
        "CAST",
        "SELECT",
        "FROM",
        "WHERE",
        "GROUP",
        "HAVING",
    ]
)


def _foreign(source: Source, text: str, span: Span) -> NoReturn:
    raise source.error(f"'{text}' is not an operator of this language.", span, fix=_FOREIGN[text])


def _text(source: Source, text: str, span: Span) -> str:
    # All quotes of one typographic family close each other: word processors disagree about which one ends a text.
    family = SINGLE_QUOTES if text[0] in SINGLE_QUOTES else DOUBLE_QUOTES
    for quote in family:
        text = text.replace(quote, family[0])
    return quoted(source, text, span)


def _quoted_family(family: str) -> str:
    return rf"[{family}](?:[^{family}]|[{family}]{{2}})*[{family}](?![{family}])"


LEXICON = Lexicon(
    rules=(
        Rule("", r"\s+"),
        Rule("NUMBER", r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", integer_or_float),
        Rule("STRING", r"'(?:[^']|'')*'(?!')", quoted),
        Rule("STRING", _quoted_family(SINGLE_QUOTES), _text),
        Rule("STRING", _quoted_family(DOUBLE_QUOTES), _text),
        Rule("QUOTED", r'"(?:[^"]|"")*"(?!")', quoted),
        Rule("NAME", r"[°µ]?[^\W\d]\w*"),
        Rule("ALIAS", r"[≤≥≠−×÷]|!="),
        Rule("FOREIGN", r"==|=>|=<|&&|\|\||\*\*|[&|!]", _foreign),
        Rule("OP", r"<=|>=|<>|[-+*/%^=<>(),.;]", is_operator=True),
    ),
    words={word: word for word in RESERVED},
    fold=True,
    hint="Operators are = <> < <= > >= + - * / % ^ AND OR NOT XOR; texts stand in single quotes.",
)


def tokens_of(source: Source) -> list[Token]:
    """The tokens of one query. Errors: QueryError."""
    return [
        Token("OP", _ALIASES[t.text], t.text, t.value, t.span) if t.kind == "ALIAS" else t
        for t in scan(source, LEXICON, _inner(source.text))
    ]


def _inner(text: str) -> Span:
    """The text without blanks and without a pair of quotes around it."""
    start, end = 0, len(text)
    while True:
        start += len(text[start:end]) - len(text[start:end].lstrip())
        end = start + len(text[start:end].rstrip())
        pair = end - start >= 2 and _closes(text[start], text[end - 1])
        if not pair:
            return Span(start, end)
        start, end = start + 1, end - 1


def _closes(first: str, last: str) -> bool:
    return any(first in family and last in family for family in ("'" + SINGLE_QUOTES, '"' + DOUBLE_QUOTES))
