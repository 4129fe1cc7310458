"""LIKE against a regular expression, and against patterns that a regular expression would choke on."""

import random
import re
import time

from twinstack.query.streamsql.like import like_matcher


def by_regex(pattern: str, escape: str) -> re.Pattern[str]:
    made, i = "", 0
    while i < len(pattern):
        char = pattern[i]
        if char == escape and i + 1 < len(pattern):
            i += 1
            made += re.escape(pattern[i])
        else:
            made += {"%": ".*", "_": "."}.get(char) or re.escape(char)
        i += 1
    return re.compile(made, re.DOTALL)


def test_it_matches_what_a_regular_expression_matches() -> None:
    rng = random.Random(3)
    outcomes = set()
    for _ in range(8_000):
        text = "".join(rng.choices("ab.\n\\%", k=rng.randrange(8)))
        pattern = "".join(rng.choices("ab.\n\\%%__", k=rng.randrange(7)))
        escape = rng.choice(("", "\\", "b"))
        expected = by_regex(pattern, escape).fullmatch(text) is not None
        assert like_matcher(pattern, escape)(text) is expected, (text, pattern, escape)
        outcomes.add(expected)
    assert outcomes == {True, False}


def test_many_wildcards_do_not_multiply() -> None:
    started = time.process_time()
    assert not like_matcher("%a" * 30 + "%b")("a" * 5_000)
    assert not like_matcher("%a_" * 30 + "%b")("a" * 5_000)
    assert time.process_time() - started < 1.0
