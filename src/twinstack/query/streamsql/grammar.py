"""StreamSQL's statement: the clauses around the expressions, read by recursive descent."""

from __future__ import annotations

import re

from twinstack.core import names
from twinstack.core.errors import InvalidName, QueryError
from twinstack.query import tree
from twinstack.query.pratt import Parser
from twinstack.query.streamsql.expressions import GRAMMAR
from twinstack.query.streamsql.lexer import RESERVED, tokens_of
from twinstack.query.streamsql.statement import STAR, Item, Join, Query, Side, SourceRef, Star, Window
from twinstack.query.tokens import END, Source, Span, Token
from twinstack.query.tree import Expr

EXAMPLE = "SELECT * FROM * WHERE result < 4;"
_SOURCE_NAME = re.compile(r"[^\s,;()]+")
_UNITS_US = {
    "MILLISECOND": 1_000,
    "SECOND": 1_000_000,
    "MINUTE": 60_000_000,
    "HOUR": 3_600_000_000,
    "DAY": 86_400_000_000,
}
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*")
_RESERVED = {"SESSION": "Session windows", "EMIT": "EMIT CHANGES"}


def parse(text: str) -> Query:
    """The statement in `text`. Errors: QueryError with line, column, caret and fix; nothing else."""
    source = Source(text)
    return _Statement(Parser(GRAMMAR, source, tokens_of(source))).query()


class _Statement:
    def __init__(self, parser: Parser) -> None:
        self.parser = parser
        self.source = parser.source

    def query(self) -> Query:
        if self.parser.token.symbol != "SELECT":
            raise self.parser.unexpected("SELECT", f"A query reads: {EXAMPLE}")
        self.parser.take()
        items = self._items()
        self.parser.expect("FROM", "',' or FROM", f"A query reads: {EXAMPLE}")
        side = self._side()
        join = self._join()
        where = self._expression() if self.parser.accept("WHERE") else None
        keys, window = self._group_by()
        having = self._expression() if self.parser.accept("HAVING") else None
        self._end(where)
        return Query(self.source, items, side, join, where, keys, window, having)

    def _word(self, *words: str) -> Token | None:
        """Takes one of the words that are reserved only where they stand."""
        token = self.parser.token
        return self.parser.take() if token.kind == "NAME" and token.text.upper() in words else None

    def _expression(self) -> Expr:
        root = self.parser.expression()
        self.parser.check_depth(root)
        return root

    def _items(self) -> tuple[Item, ...] | Star:
        if self.parser.accept("*"):
            return STAR
        items = [self._item()]
        while self.parser.accept(","):
            items.append(self._item())
        return tuple(items)

    def _item(self) -> Item:
        expr = self._expression()
        name, unit, span = "", "", expr.span
        if self._word("AS"):
            token = self._name("a name after AS")
            name, span = str(token.value), span.to(token.span)
        if self._word("UNIT"):
            token = self.parser.expect("STRING", "a unit in single quotes", "UNIT 'degC'")
            unit, span = str(token.value), span.to(token.span)
        return Item(expr, name, unit, span)

    def _name(self, expected: str) -> Token:
        if self.parser.token.kind not in ("NAME", "QUOTED"):
            raise self.parser.unexpected(expected)
        return self.parser.take()

    def _side(self) -> Side:
        start = self.parser.token.span
        sources: tuple[SourceRef, ...] | Star = STAR
        if not self.parser.accept("*"):
            refs = [self._source()]
            while self.parser.accept(","):
                refs.append(self._source())
            sources = tuple(refs)
        condition, alias = None, ""
        if self._word("FILTER"):
            self.parser.expect("(", "'(' after FILTER")
            condition = self._expression()
            self.parser.expect(")", "')' or an operator")
        if self._word("AS"):
            alias = str(self._name("an alias after AS").value)
        return Side(sources, condition, alias, start)

    def _source(self) -> SourceRef:
        """A system is read from the text itself, up to a blank or comma: dots and hyphens belong to it."""
        token = self.parser.token
        match = _SOURCE_NAME.match(self.source.text, token.span.start)
        if token.kind == END or match is None or match.group().upper() in RESERVED:
            raise self.parser.unexpected("'*' or a system", f"A query reads: {EXAMPLE}")
        # A quote around the whole query may stand directly behind the name.
        end = min(match.end(), self.parser.tokens[-1].span.start)
        span = Span(token.span.start, end)
        while self.parser.token.span.start < end and self.parser.token.kind != END:
            self.parser.take()
        return self._source_ref(self.source.slice(span), span)

    def _source_ref(self, text: str, span: Span) -> SourceRef:
        system, _, suffix = text.rpartition(".")
        if system.count(".") != 3 or suffix.lower() not in ("int", "ext"):
            system, suffix = text, "int"
        try:
            # Which domains may be used is the platform's to say, not the language's.
            names.parse_system(system, allow_reserved=True)
        except InvalidName as error:
            raise self.source.error(error.message, span, expected="'*' or a system", fix=error.fix) from None
        return SourceRef(system, suffix.lower(), span)

    def _join(self) -> Join | None:
        start = self.parser.token.span
        kind = self._word("NEIGHBOUR", "NEIGHBOR", "ASOF")
        if kind is None:
            other = self._word("JOIN", "INNER", "LEFT", "RIGHT", "FULL", "CROSS", "OUTER")
            if other:
                raise self.source.error(
                    f"{other.text.upper()} is not in this version.", start, expected="NEIGHBOUR JOIN or ASOF JOIN"
                )
            return None
        if not self._word("JOIN"):
            raise self.parser.unexpected("JOIN")
        side = self._side()
        on = self._expression() if self._word("ON") else None
        within = self._duration() if self._word("WITHIN") else None
        return Join("asof" if kind.text.upper() == "ASOF" else "neighbour", side, on, within, start)

    def _group_by(self) -> tuple[tuple[Expr, ...], Window | None]:
        if not self.parser.accept("GROUP"):
            return (), None
        if not self._word("BY"):
            raise self.parser.unexpected("BY after GROUP")
        keys: list[Expr] = []
        while True:
            window = self._window()
            if window is not None:
                return tuple(keys), window
            keys.append(self._expression())
            if not self.parser.accept(","):
                raise self.parser.unexpected(
                    "',' and a window", "GROUP BY ends with a window: GROUP BY full_name, TUMBLE(time, 1 MINUTE)."
                )

    def _window(self) -> Window | None:
        token = self.parser.token
        kind = token.text.upper()
        if token.kind != "NAME" or self.parser.following.symbol != "(" or kind not in ("TUMBLE", "HOP", "SESSION"):
            return None
        if kind in _RESERVED:
            raise self._reserved(token)
        self.parser.take()
        self.parser.take()
        on = self.parser.take()
        if on.kind != "NAME" or on.text != "time":
            raise self.source.error("A window is made over 'time'.", on.span, expected="time")
        self.parser.expect(",")
        size = slide = self._duration()
        if kind == "HOP":
            self.parser.expect(",")
            slide = self._duration()
        closing = self.parser.expect(")")
        return Window(kind.lower(), size, slide, token.span.to(closing.span))

    def _duration(self) -> int:
        """`INTERVAL '10 seconds'` or `10 SECONDS`, in microseconds."""
        token = self.parser.token
        if self._word("INTERVAL"):
            text = self.parser.expect("STRING", "a duration in single quotes", "INTERVAL '10 seconds'")
            written, span = str(text.value), token.span.to(text.span)
        else:
            number = self.parser.expect("NUMBER", "a duration", "Write 10 SECONDS.")
            unit = self._name("SECONDS, MINUTES, HOURS or DAYS")
            written, span = f"{number.text} {unit.text}", number.span.to(unit.span)
        match = _DURATION.fullmatch(written)
        factor = _UNITS_US.get(match.group(2).upper().removesuffix("S")) if match else None
        us = round(float(match.group(1)) * factor) if match and factor and len(match.group(1)) < 20 else 0
        if us <= 0:
            raise self.source.error(
                f"'{written[:60]}' is not a duration.", span, expected="for example 10 SECONDS or INTERVAL '5 minutes'"
            )
        return us

    def _reserved(self, token: Token) -> QueryError:
        return self.source.error(f"{_RESERVED[token.text.upper()]} are not in this version.", token.span)

    def _end(self, where: Expr | None) -> None:
        while self.parser.accept(";"):
            pass
        token = self.parser.token
        if token.kind == END:
            return
        if token.kind == "NAME" and token.text.upper() in _RESERVED:
            raise self._reserved(token)
        if token.symbol == ")":
            raise self.source.error("This ')' closes nothing.", token.span, fix="Remove it, or open it with '('.")
        fix = ""
        if token.kind in ("NAME", "STRING", "QUOTED") and isinstance(self._before().value, str):
            before = self._before()
            if "STRING" in (before.kind, token.kind):
                fix = "A quote inside a text is doubled: 'the stranger''s car'."
        expected = "an operator, GROUP BY or the end" if where is not None else "WHERE, GROUP BY or the end"
        raise self.parser.unexpected(expected, fix)

    def _before(self) -> Token:
        return self.parser.tokens[max(0, self.parser.index - 1)]


def conjunction(conditions: list[Expr]) -> Expr | None:
    """The conditions that must all be TRUE, as one."""
    if len(conditions) < 2:
        return conditions[0] if conditions else None
    return tree.Chain("and", tuple(conditions), span=conditions[0].span)
