"""Shape and values of an expression: one SQL text serves every request that differs in its literals only.

`lift` numbers the literals and puts a `Slot` in the place of each value. The tree that is left is hashable and equal
for equal shapes; what SQL depends on (is this text a number? a time?) is part of the slot, not of the value.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from twinstack.core.errors import InvalidTimestamp
from twinstack.core.timestamps import parse_interval_us
from twinstack.query import geometry, tree
from twinstack.query.tree import Expr

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_TIME = re.compile(r"\d{4}-\d\d-\d\d.*")


@dataclass(frozen=True, slots=True)
class Slot:
    """The name of a bound parameter. `also`: 'number' or 'time' when the text can be read as one too; then the
    parameters `<name>n`, or `<name>t` and `<name>e` (start, end), hold that reading. The bounding box of a geography is
    in `<name>w`, `<name>s`, `<name>e` and `<name>n`; it is 'simple' when it is valid and no collection."""

    name: str
    also: str = ""


def lift(expr: Expr, values: dict[str, Any]) -> Expr:
    """`expr` with slots for its values, which are added to `values` under the slots' names.

    Errors: InvalidInput for a geography or a pattern that cannot be read."""
    match expr:
        case tree.Literal(value=value, kind=kind) if kind not in ("null", "bool"):
            return tree.Literal(_slot(value, kind, values), kind)
        case tree.Unary(op, operand):
            return tree.Unary(op, lift(operand, values))
        case tree.Binary(op, left, right):
            return tree.Binary(op, lift(left, values), lift(right, values))
        case tree.Chain(op, operands):
            return tree.Chain(op, tuple(lift(part, values) for part in operands))
        case tree.In(operand, items, negated):
            return tree.In(lift(operand, values), tuple(lift(item, values) for item in items), negated)
        case tree.Call("st_relate", (_, _, tree.Literal(value=str(pattern), kind="string"))):
            geometry.check_pattern(pattern)
            return tree.Call("st_relate", tuple(lift(arg, values) for arg in expr.args))
        case tree.Call(name, args):
            return tree.Call(name, tuple(lift(arg, values) for arg in args))
    return expr


def _slot(value: Any, kind: str, values: dict[str, Any]) -> Slot:
    name = f"v{len(values)}"
    values[name] = value
    if kind == "interval":
        values[f"{name}t"], values[f"{name}e"] = value
        del values[name]
    if kind == "geography":
        values[name], *box, simple = geometry.literal(value)
        values |= zip((f"{name}{side}" for side in "wsen"), box, strict=True)
        return Slot(name, "simple" if simple else "")
    if kind != "string":
        return Slot(name)
    if _NUMBER.fullmatch(value) and math.isfinite(number := float(value)):
        whole = int(value) if re.fullmatch(r"[+-]?\d{1,18}", value) else number
        values[f"{name}n"] = whole
        return Slot(name, "number")
    if _TIME.fullmatch(value):
        try:
            start, end = parse_interval_us(value)
        except InvalidTimestamp:
            return Slot(name)
        values[f"{name}t"], values[f"{name}e"] = start, start if end is None else end
        return Slot(name, "time")
    return Slot(name)
