"""Every code of librdkafka becomes an error of the project, with something to do about it."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from twinstack.core.errors import (
    FatalLogError,
    Fenced,
    PermissionDenied,
    PositionLost,
    QueueFull,
    RecordTooLarge,
    RetriableLogError,
    TimedOut,
    TransactionAborted,
    TwinstackError,
    UnknownTopic,
    Unreachable,
)
from twinstack.log.kafka.errors import TABLE, kind_of, mapped
from twinstack.log.kafka.facade import Watch, calling

CODES = {
    name: code
    for name in dir(KafkaError)
    if isinstance(code := getattr(KafkaError, name), int) and name.lstrip("_").isupper()
}


def test_librdkafka_still_names_its_codes() -> None:
    assert len(CODES) > 150
    assert len(set(CODES.values())) == len(CODES)


@pytest.mark.parametrize("flags", [{}, {"retriable": True}, {"fatal": True}, {"txn_requires_abort": True}])
def test_no_code_leaks(flags: dict[str, bool]) -> None:
    watch = Watch("127.0.0.1:1")
    for name, code in CODES.items():
        with pytest.raises(TwinstackError) as raised, calling(watch, "do it", "a.topic"):
            raise KafkaException(KafkaError(code, "a reason", **flags))
        error = raised.value
        assert error.fix, name
        assert error.message.endswith("."), name
        assert error.fields["kafka_error"] == name
        assert error.__cause__ is None and error.__suppress_context__, name


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("UNKNOWN_TOPIC_OR_PART", UnknownTopic),
        ("_UNKNOWN_TOPIC", UnknownTopic),
        ("MSG_SIZE_TOO_LARGE", RecordTooLarge),
        ("_QUEUE_FULL", QueueFull),
        ("TOPIC_AUTHORIZATION_FAILED", PermissionDenied),
        ("_AUTHENTICATION", PermissionDenied),
        ("_TRANSPORT", Unreachable),
        ("_ALL_BROKERS_DOWN", Unreachable),
        ("_MSG_TIMED_OUT", TimedOut),
        ("_AUTO_OFFSET_RESET", PositionLost),
        ("_FENCED", Fenced),
        ("INVALID_PRODUCER_EPOCH", Fenced),
        ("ILLEGAL_GENERATION", Fenced),
        ("_INCONSISTENT", TransactionAborted),
        ("CONCURRENT_TRANSACTIONS", RetriableLogError),
        ("UNKNOWN_LEADER_EPOCH", RetriableLogError),
        ("FENCED_LEADER_EPOCH", RetriableLogError),
        ("OFFSET_NOT_AVAILABLE", RetriableLogError),
        ("_FATAL", FatalLogError),
        ("CORRUPT_MESSAGE" if hasattr(KafkaError, "CORRUPT_MESSAGE") else "INVALID_MSG", FatalLogError),
    ],
)
def test_what_a_code_means(name: str, kind: type[TwinstackError]) -> None:
    assert kind_of(KafkaError(CODES[name])) is kind


def test_flags_decide_for_codes_that_nobody_knows() -> None:
    assert 9_999 not in TABLE
    assert kind_of(KafkaError(9_999, retriable=True)) is RetriableLogError
    assert kind_of(KafkaError(9_999)) is FatalLogError
    assert kind_of(KafkaError(KafkaError._TRANSPORT, txn_requires_abort=True)) is TransactionAborted


def test_the_cause_told_on_the_side_replaces_the_symptom() -> None:
    watch = Watch("kafka.example:9093")
    watch.on_error(KafkaError(KafkaError._AUTHENTICATION, "SASL authentication failed"))
    assert isinstance(watch.error(KafkaError(KafkaError._TRANSPORT), "read"), PermissionDenied)
    assert isinstance(watch.error(KafkaError(KafkaError.INVALID_CONFIG), "read"), TwinstackError)


def test_time_outs_told_on_the_side_are_counted() -> None:
    watch = Watch("kafka.example:9093")
    watch.on_error(KafkaError(KafkaError._TIMED_OUT))
    watch.on_error(KafkaError(KafkaError._TRANSPORT))
    assert watch.timeouts == 1


def test_refusals_show_nothing_of_the_brokers_text() -> None:
    dump = "Request Request(processor=1, connectionId=10.0.0.1:9092) is not authorized."
    error = mapped(KafkaError(KafkaError.CLUSTER_AUTHORIZATION_FAILED, dump), "create rights")
    assert "10.0.0.1" not in str(error)


def test_an_unreachable_broker_is_named() -> None:
    error = mapped(KafkaError(KafkaError._TRANSPORT), "read", servers="127.0.0.1:9092")
    assert "127.0.0.1:9092" in error.message
