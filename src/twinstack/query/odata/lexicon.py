"""Tokens of OData expressions: paths, literals of all kinds, operators by name.

A path is one token (`Datastream/Thing/name`, `@iot.id`), so that a property may be called like an operator.
"""

from __future__ import annotations

import re

from twinstack.core.errors import InvalidTimestamp
from twinstack.core.timestamps import US_PER_S, parse_us
from twinstack.query.tokens import Lexicon, Rule, Source, Span, integer_or_float, quoted

COMPARISONS = ("eq", "ne", "gt", "ge", "lt", "le")
ARITHMETIC = ("add", "sub", "mul", "div", "mod")
WORDS = {word: word for word in (*COMPARISONS, *ARITHMETIC, "and", "or", "not", "in", "null", "true", "false")}

_DAY_US = 86_400 * US_PER_S
_DATE = r"\d{4}-\d\d-\d\d"
_CLOCK = r"\d\d:\d\d(?::\d\d(?:\.\d{1,12})?)?"
_INSTANT = rf"{_DATE}(?:T{_CLOCK}(?:Z|z|[+-]\d\d:?\d\d)?)?"
_PERIOD = r"P(?=[\dT])(?:\d+D)?(?:T(?=\d)(?:\d+H)?(?:\d+M)?(?:\d+(?:\.\d{1,12})?S)?)?"
_PERIOD_PARTS = re.compile(r"([+-]?)P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?")
_DURATION_DAYS_MAX = 3_660_000


def period_us(source: Source, text: str, span: Span) -> int:
    """Microseconds of an ISO 8601 duration of days and smaller units (months have no fixed length)."""
    match = _PERIOD_PARTS.fullmatch(text)
    if match is None or not any(match.groups()[1:]):
        raise source.error(f"'{text[:40]}' is not a duration.", span, fix="Write duration'P1DT2H30M'.")
    sign, days, hours, minutes, seconds = match.groups()
    if len(days or "") > 7 or len(hours or "") > 9 or len(minutes or "") > 11 or len(seconds or "") > 20:
        raise source.error("The duration is too long.", span, fix=f"Use at most {_DURATION_DAYS_MAX} days.")
    us = int(days or 0) * _DAY_US + (int(hours or 0) * 3600 + int(minutes or 0) * 60) * US_PER_S
    us += round(float(seconds or 0) * US_PER_S)
    if us > _DURATION_DAYS_MAX * _DAY_US:
        raise source.error("The duration is too long.", span, fix=f"Use at most {_DURATION_DAYS_MAX} days.")
    return -us if sign == "-" else us


def _instant_us(source: Source, text: str, span: Span) -> int:
    try:
        return parse_us(text)
    except InvalidTimestamp as error:
        raise source.error(error.message, span, fix=error.fix) from None


def _interval_us(source: Source, text: str, span: Span) -> tuple[int, int]:
    first, _, second = text.partition("/")
    if first.startswith("P"):
        end = _instant_us(source, second, span)
        return end - period_us(source, first, span), end
    start = _instant_us(source, first, span)
    end = start + period_us(source, second, span) if second.startswith("P") else _instant_us(source, second, span)
    if end < start:
        raise source.error(f"The interval '{text}' ends before it begins.", span, fix="Write start/end.")
    return start, end


def _clock_us(source: Source, text: str, span: Span) -> int:
    return _instant_us(source, f"1970-01-01T{text}Z", span)


def _duration_us(source: Source, text: str, span: Span) -> int:
    return period_us(source, text[text.index("'") + 1 : -1], span)


def _geography(source: Source, text: str, span: Span) -> str:
    return quoted(source, text[text.index("'") :], span)


LEXICON = Lexicon(
    rules=(
        Rule("", r"\s+"),
        Rule("interval", rf"{_INSTANT}/(?:{_INSTANT}|{_PERIOD})|{_PERIOD}/{_INSTANT}", _interval_us),
        Rule("time", _INSTANT, _instant_us),
        Rule("clock", _CLOCK, _clock_us),
        Rule("number", r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.])", integer_or_float),
        Rule("duration", r"duration'[^']*'", _duration_us),
        Rule("geography", r"geo(?:graphy|metry)'(?:[^']|'')*'", _geography),
        Rule("string", r"'(?:[^']|'')*'", quoted),
        # A member of an array is `coordinates/0` or `coordinates[0]`.
        Rule("NAME", r"[@$]?[^\W\d][\w.]*(?:\[\d{1,9}\])*(?:/[\w@][\w.@-]*(?:\[\d{1,9}\])*)*"),
        Rule("OP", r"[(),/-]", is_operator=True),
    ),
    words=WORDS,
    fold=False,
    hint="Texts stand in ' ', operators are words: eq ne gt ge lt le and or not add sub mul div mod.",
)
