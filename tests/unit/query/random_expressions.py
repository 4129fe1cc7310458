"""Random expressions, written in StreamSQL with as few parentheses as its table of powers allows, and for DuckDB.

Documented differences, written around on DuckDB's side or not generated:
- overflow and a failing function are NULL here and an error there: `TRY(...)`; a float that is not finite is NULL here;
- `%` has the divisor's sign here, the dividend's there;
- XOR of truth values is `<>` there; texts are joined by `||`, whose NULL is ours (its CONCAT skips NULL);
- an INT beside a FLOAT compares exactly here and as two doubles there: only integers below 2^53 stand beside a FLOAT;
- branches of CASE and COALESCE keep their kinds here and are cast to one type there: they get one type;
- a float as a text is the shortest one here: not generated; CAST AS INT cuts here and rounds there.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from twinstack.query.streamsql.expressions import AND, COMPARE, MINUS, NOT, OR, POWER, PRODUCT, SUM, XOR

ATOM = 1000


@dataclass(frozen=True)
class Written:
    text: str
    power: int
    duck: str
    small: bool = False
    """An integer below 2^53, which a double holds exactly."""

    def at(self, power: int) -> str:
        return self.text if self.power >= power else f"({self.text})"


def atom(text: str, duck: str | None = None, *, small: bool = False) -> Written:
    return Written(text, ATOM, duck if duck is not None else text, small)


COLUMNS = {
    "int": ["n", "parameters.big"],
    "float": ["x", "latitude"],
    "string": ["name", "label"],
    "bool": ["flag"],
    "time": ["time"],
}
DUCK_COLUMNS = {"parameters.big": "big", "time": "tm"}
INTS = (0, 1, 2, 3, 7, -1, -5, 100)
FLOATS = (0.0, 0.5, 1.5, 2.0, 2.5, -3.25, 100.125, 0.1, 1e300)
TEXTS = ("", "a", "ab", "Air Temperature", "it's", "B%", "a_b", "ü", " a ")
PATTERNS = ("%", "a%", "%b", "%a%", "_b", "a_b", "%ir%Temp%", "", "%_", "_%_")
TIMES = ("2026-11-24T12:00:00Z", "2018-12-04T14:18:11.376306+00:00", "1970-01-01T00:00:00Z")


def quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


class Generator:
    """`mixed` adds `result`, a column of all kinds, which DuckDB cannot hold."""

    def __init__(self, seed: int, *, mixed: bool = False) -> None:
        self.random = random.Random(seed)
        self.mixed = mixed

    def expression(self, kind: str, depth: int) -> Written:
        if depth <= 0 or self.random.random() < 0.12:
            return self.leaf(kind)
        return getattr(self, f"_{kind}")(depth - 1)

    def leaf(self, kind: str) -> Written:
        pick = self.random.choice
        if self.mixed and kind != "time" and self.random.random() < 0.4:
            return atom(pick(("result", "parameters.mixed")))
        if self.random.random() < 0.5:
            name = pick(COLUMNS[kind])
            return atom(name, DUCK_COLUMNS.get(name, name), small=name == "n")
        if kind == "bool":
            return pick((atom("TRUE"), atom("FALSE"), atom("NULL", "NULL::BOOLEAN"), atom("flag")))
        if kind == "int":
            return self._number(pick(INTS), "BIGINT")
        if kind == "float":
            return self._number(pick(FLOATS), "DOUBLE")
        if kind == "string":
            text = pick(TEXTS)
            return atom(quote(text), f"{quote(text)}::VARCHAR")
        return atom("time", "tm")

    def _number(self, value: float, duck_type: str) -> Written:
        duck = f"({value!r}::{duck_type})"
        if value < 0:
            return Written(f"-{-value!r}", MINUS, duck, isinstance(value, int))
        return atom(repr(value), duck, small=isinstance(value, int))

    # One method per kind

    def _bool(self, depth: int) -> Written:
        forms = (self._compare, self._compare, self._logic, self._logic, self._not, self._between, self._in)
        forms += (self._is_null, self._like, self._case_bool, self._text_test)
        return self.random.choice(forms)(depth)

    def _int(self, depth: int) -> Written:
        choice = self.random.random()
        if choice < 0.55:
            return self._arithmetic("int", depth)
        if choice < 0.65:
            inner = self.expression("string", depth)
            return atom(f"LENGTH({inner.text})", f"length({inner.duck})", small=True)
        if choice < 0.75:
            inner = self.expression("float", depth)
            return atom(f"CAST({inner.text} AS INT)", f"TRY(trunc({inner.duck})::BIGINT)")
        if choice < 0.85:
            inner = self.expression("int", depth)
            return atom(f"ABS({inner.text})", f"TRY(abs({inner.duck}))")
        return self._choose("int", depth)

    def _float(self, depth: int) -> Written:
        choice = self.random.random()
        if choice < 0.5:
            return self._arithmetic("float", depth)
        if choice < 0.6:
            left, right = self.expression("int", depth), self.expression("int", depth)
            duck = f"fin(({left.duck})::DOUBLE / ({right.duck})::DOUBLE)"
            return Written(f"{left.at(PRODUCT)} / {right.at(PRODUCT + 1)}", PRODUCT, duck)
        if choice < 0.7:
            base = self.expression("float", depth)
            exponent = self.random.choice((0, 1, 2, 3))
            return Written(f"{base.at(POWER + 1)} ^ {exponent}", POWER, f"fin(pow({base.duck}, {exponent}))")
        if choice < 0.9:
            inner = self.expression("float", depth)
            name = self.random.choice(("ABS", "FLOOR", "CEIL", "SQRT", "ROUND"))
            return atom(f"{name}({inner.text})", f"fin(TRY({name.lower()}({inner.duck})))")
        return self._choose("float", depth)

    def _string(self, depth: int) -> Written:
        choice = self.random.random()
        inner = self.expression("string", depth)
        if choice < 0.4:
            name = self.random.choice(("LOWER", "UPPER", "TRIM"))
            return atom(f"{name}({inner.text})", f"{name.lower()}({inner.duck})")
        if choice < 0.6:
            start, length = self.random.choice((1, 2, 3)), self.random.choice((0, 1, 4))
            return atom(f"SUBSTRING({inner.text}, {start}, {length})", f"substring({inner.duck}, {start}, {length})")
        if choice < 0.8:
            other = self.expression("string", depth)
            return atom(f"CONCAT({inner.text}, {other.text})", f"({inner.duck} || {other.duck})")
        if choice < 0.9:
            number = self.expression("int", depth)
            return atom(f"CAST({number.text} AS STRING)", f"({number.duck})::VARCHAR")
        return self._choose("string", depth)

    def _time(self, _depth: int) -> Written:
        return self.leaf("time")

    # Forms

    def _arithmetic(self, kind: str, depth: int) -> Written:
        left = self.expression(kind, depth)
        if self.random.random() < 0.15:
            return Written(f"-{left.at(MINUS)}", MINUS, f"TRY(-({left.duck}))")
        right = self.expression(kind, depth)
        op = self.random.choice("+-*%" if kind == "int" else "+-*%/")
        power = SUM if op in "+-" else PRODUCT
        duck = f"(({left.duck}) {op} ({right.duck}))"
        if op == "%":
            duck = f"{'i' if kind == 'int' else 'f'}mod({left.duck}, {right.duck})"
        duck = f"TRY({duck})" if kind == "int" else f"fin({duck})"
        return Written(f"{left.at(power)} {op} {right.at(power + 1)}", power, duck)

    def _choose(self, kind: str, depth: int) -> Written:
        first, second = self.expression(kind, depth), self.expression(kind, depth)
        if self.random.random() < 0.5:
            return atom(f"COALESCE({first.text}, {second.text})", f"coalesce({first.duck}, {second.duck})")
        if self.random.random() < 0.3:
            subject, value = self.expression("string", depth), self.leaf("string")
            return atom(
                f"CASE {subject.text} WHEN {value.text} THEN {first.text} ELSE {second.text} END",
                f"CASE {subject.duck} WHEN {value.duck} THEN {first.duck} ELSE {second.duck} END",
            )
        test = self.expression("bool", depth)
        otherwise = self.random.random() < 0.7
        return atom(
            f"CASE WHEN {test.text} THEN {first.text}{f' ELSE {second.text}' if otherwise else ''} END",
            f"CASE WHEN {test.duck} THEN {first.duck}{f' ELSE {second.duck}' if otherwise else ''} END",
        )

    def _case_bool(self, depth: int) -> Written:
        return self._choose("bool", depth)

    def _pair(self, depth: int) -> tuple[Written, Written]:
        kind = self.random.choice(("int", "float", "string", "bool", "time", "mix"))
        if kind == "mix":
            pair = (self.leaf("int"), self.expression("float", depth))
            if pair[0].small or self.mixed:
                return pair if self.random.random() < 0.5 else pair[::-1]
            kind = "float"
        if kind == "time":
            moment = self.random.choice(TIMES)
            return atom("time", "tm"), atom(quote(moment), f"TIMESTAMPTZ {quote(moment)}")
        return self.expression(kind, depth), self.expression(kind, depth)

    def _compare(self, depth: int) -> Written:
        left, right = self._pair(depth)
        op = self.random.choice(("=", "<>", "<", "<=", ">", ">="))
        text = f"{left.at(COMPARE + 1)} {op} {right.at(COMPARE + 1)}"
        return Written(text, COMPARE, f"(({left.duck}) {op} ({right.duck}))")

    def _logic(self, depth: int) -> Written:
        name, power = self.random.choice((("AND", AND), ("OR", OR), ("XOR", XOR)))
        operands = [self.expression("bool", depth) for _ in range(self.random.choice((2, 2, 3)))]
        text = f" {name} ".join(operand.at(power + 1) for operand in operands)
        duck = f" {'<>' if name == 'XOR' else name} ".join(f"({operand.duck})" for operand in operands)
        if name == "XOR" and len(operands) == 3:
            duck = f"(({operands[0].duck}) <> ({operands[1].duck})) <> ({operands[2].duck})"
        return Written(text, power, f"({duck})")

    def _not(self, depth: int) -> Written:
        operand = self.expression("bool", depth)
        return Written(f"NOT {operand.at(NOT)}", NOT, f"(NOT ({operand.duck}))")

    def _between(self, depth: int) -> Written:
        kind = self.random.choice(("int", "float", "string"))
        x, low, high = (self.expression(kind, depth) for _ in range(3))
        word = self.random.choice(("BETWEEN", "NOT BETWEEN"))
        p = COMPARE + 1
        text = f"{x.at(p)} {word} {low.at(p)} AND {high.at(p)}"
        return Written(text, COMPARE, f"(({x.duck}) {word} ({low.duck}) AND ({high.duck}))")

    def _in(self, depth: int) -> Written:
        kind = self.random.choice(("int", "float", "string"))
        x = self.expression(kind, depth)
        items = [self.leaf(kind) for _ in range(self.random.choice((1, 2, 4)))]
        word = self.random.choice(("IN", "NOT IN"))
        listed, duck = ", ".join(i.text for i in items), ", ".join(i.duck for i in items)
        return Written(f"{x.at(COMPARE + 1)} {word} ({listed})", COMPARE, f"(({x.duck}) {word} ({duck}))")

    def _is_null(self, depth: int) -> Written:
        x = self.expression(self.random.choice(("int", "float", "string", "bool")), depth)
        word = self.random.choice(("IS NULL", "IS NOT NULL"))
        return Written(f"{x.at(COMPARE + 1)} {word}", COMPARE, f"(({x.duck}) {word})")

    def _like(self, depth: int) -> Written:
        x = self.expression("string", depth)
        pattern = quote(self.random.choice(PATTERNS))
        word = self.random.choice(("LIKE", "NOT LIKE"))
        return Written(f"{x.at(COMPARE + 1)} {word} {pattern}", COMPARE, f"(({x.duck}) {word} {pattern})")

    def _text_test(self, depth: int) -> Written:
        left, right = self.expression("string", depth), self.expression("string", depth)
        name = self.random.choice(("STARTS_WITH", "ENDS_WITH", "CONTAINS"))
        return atom(f"{name}({left.text}, {right.text})", f"{name.lower()}({left.duck}, {right.duck})")


def rows(seed: int, count: int) -> list[dict[str, object]]:
    """Rows with every column; `result` and `parameters.mixed` hold values of all kinds."""
    rng = random.Random(seed)
    maybe = lambda value: None if rng.random() < 0.15 else value  # noqa: E731
    bigs = (2**63 - 1, -(2**63), 2**53 + 1, 10**12, 0, -1)
    anything = (*INTS, *FLOATS, *TEXTS, True, False, None, 2**63 - 1, 2**64, 10**400, [1], {"a": 1})
    return [
        {
            "n": maybe(rng.choice((*INTS, rng.randrange(-1000, 1000)))),
            "parameters.big": maybe(rng.choice(bigs)),
            "x": maybe(rng.choice((*FLOATS, rng.uniform(-50, 50)))),
            "latitude": maybe(rng.uniform(-90, 90)),
            "name": rng.choice(TEXTS),
            "label": maybe(rng.choice(TEXTS)),
            "flag": maybe(rng.random() < 0.5),
            "time": rng.choice((0, 1_543_933_091_376_306, 1_795_521_600_000_000, -1)),
            "result": rng.choice(anything),
            "parameters.mixed": rng.choice(anything),
        }
        for _ in range(count)
    ]
