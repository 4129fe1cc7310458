"""A checked term with other names of columns."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from twinstack.query.streamsql.checked import Checked, ColumnRef, Term


def renamed(term: Term, alias: str) -> Term:
    """The term of a join as the side itself reads it: `a.result` becomes `result`."""
    found: Term = _renamed(term, f"{alias}.")
    return found


def _renamed(value: Any, prefix: str) -> Any:
    if isinstance(value, ColumnRef):
        return replace(value, name=value.name.removeprefix(prefix))
    if isinstance(value, tuple):
        return tuple(_renamed(part, prefix) for part in value)
    if isinstance(value, Checked):
        names = {field.name for field in fields(value)} - {"span", "kinds"}
        parts = {name: _renamed(getattr(value, name), prefix) for name in names}
        return replace(value, **parts)
    return value
