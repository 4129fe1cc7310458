from __future__ import annotations

import pytest

from twinstack.core.errors import PermissionDenied
from twinstack.platform.policy import Action, Actor, Mode, Object, decide, is_loopback, require

KINDS = ("request", "system", "topic", "group", "transaction", "datastream", "app", "page")


@pytest.mark.parametrize("action", list(Action))
@pytest.mark.parametrize("kind", KINDS)
def test_lab_may_everything_on_this_machine_and_nothing_from_elsewhere(action: Action, kind: str) -> None:
    target = Object(kind, "x", "cz.a.b.c")
    assert decide(Actor("lab", address="127.0.0.1"), action, target).allowed
    assert decide(Actor("lab", address="::1"), action, target).allowed
    for address in ("192.168.0.7", "8.8.8.8", "", "localhost", "fe80::1"):
        assert not decide(Actor("lab", address=address), action, target).allowed


@pytest.mark.parametrize("action", list(Action))
@pytest.mark.parametrize("kind", KINDS)
def test_anonymous_may_nothing(action: Action, kind: str) -> None:
    decision = decide(Actor("anonymous", address="127.0.0.1"), action, Object(kind))
    assert not decision.allowed
    assert decision.rule == "deny by default"
    assert "anonymous" in decision.reason


@pytest.mark.parametrize("action", list(Action))
def test_a_worker_moves_records_and_manages_no_apps(action: Action) -> None:
    worker = Actor("worker", address="127.0.0.1")
    assert decide(worker, action, Object("topic", "cz.a.b.c.int")).allowed
    assert not decide(worker, action, Object("app", "abc")).allowed
    assert not decide(Actor("worker", address="10.0.0.1"), action, Object("topic")).allowed


def test_require_says_why_and_what_to_do() -> None:
    with pytest.raises(PermissionDenied) as caught:
        require(Actor("anonymous"), Action.DEPLOY, Object("app", "weather2car1"))
    assert "deploy app weather2car1" in caught.value.message
    assert caught.value.fix
    assert (caught.value.exit_code, caught.value.http_status) == (4, 403)


def test_lab_exists_in_open_and_demo_alone() -> None:
    assert [mode for mode in Mode if mode.lab] == [Mode.OPEN, Mode.DEMO]


def test_loopback_is_the_whole_block_and_no_name() -> None:
    assert is_loopback("127.8.9.1")
    assert not is_loopback("localhost")
    assert not is_loopback("127.0.0.1.example.org")
