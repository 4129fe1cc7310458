from __future__ import annotations

import pytest

from twinstack.web.render import age, rate, result, unit


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s ago"), (59.4, "59 s ago"), (60, "1 min ago"), (7_199, "1 h ago"), (200_000, "2 d ago"), (-5, "0 s ago")],
)
def test_age(seconds: float, words: str) -> None:
    assert age(seconds) == words


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (3.25, "3.25"),
        (0.0, "0"),
        (-4.0, "-4"),
        (1 / 3, "0.333333"),
        (123456.789, "123457"),
        (1234.56789, "1234.57"),
        (1e-9, "1e-09"),
        (1e300, "1e+300"),
        (7, "7"),
        (True, "true"),
        (None, "null"),
        ("wet", "wet"),
    ],
)
def test_result(value: object, shown: str) -> None:
    assert result(value) == shown


def test_unit_and_rate() -> None:
    assert (unit("degC"), unit("m/s"), unit(""), unit("1")) == ("°C", "m/s", "", "")
    assert (rate(0.1234), rate(1234.5)) == ("0.12", "1234")
