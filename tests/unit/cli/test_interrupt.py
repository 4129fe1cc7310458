"""Ctrl+C is remembered also where Python drops the exception."""

from __future__ import annotations

import signal

import pytest

from twinstack.cli.interrupt import remembered


class Interrupted:
    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_a_finaliser_swallows_is_remembered() -> None:
    before = signal.getsignal(signal.SIGINT)
    with remembered() as seen:
        assert not seen.is_set()
        Interrupted()
        assert seen.is_set()
    assert signal.getsignal(signal.SIGINT) is before


def test_it_is_raised_as_ever() -> None:
    with pytest.raises(KeyboardInterrupt), remembered() as seen:
        signal.raise_signal(signal.SIGINT)
    assert seen.is_set()
