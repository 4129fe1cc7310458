"""From librdkafka's error codes to the project's errors: a table, and nothing of librdkafka gets past it.

A code that is not in the table is judged by its flags: retriable, else fatal. The broker's own text is shown only
where it helps; texts of refusals hold dumps of internal requests and are never shown.
"""

from __future__ import annotations

from confluent_kafka import KafkaError

from twinstack.core.errors import (
    Conflict,
    FatalLogError,
    Fenced,
    InvalidName,
    NotFound,
    PermissionDenied,
    PositionLost,
    QueueFull,
    RecordTooLarge,
    RetriableLogError,
    SettingsError,
    StorageFull,
    TimedOut,
    TransactionAborted,
    TwinstackError,
    UnknownTopic,
    Unreachable,
)

E = KafkaError

_CLASSES: dict[type[TwinstackError], tuple[int, ...]] = {
    UnknownTopic: (E.UNKNOWN_TOPIC_OR_PART, E.UNKNOWN_TOPIC_ID, E._UNKNOWN_TOPIC, E._UNKNOWN_PARTITION),
    InvalidName: (E.TOPIC_EXCEPTION, E.INVALID_GROUP_ID),
    RecordTooLarge: (E.MSG_SIZE_TOO_LARGE, E.RECORD_LIST_TOO_LARGE, E.INVALID_MSG_SIZE),
    QueueFull: (E._QUEUE_FULL,),
    PermissionDenied: (
        E.TOPIC_AUTHORIZATION_FAILED,
        E.GROUP_AUTHORIZATION_FAILED,
        E.CLUSTER_AUTHORIZATION_FAILED,
        E.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        E.DELEGATION_TOKEN_AUTHORIZATION_FAILED,
        E.SASL_AUTHENTICATION_FAILED,
        E.UNACCEPTABLE_CREDENTIAL,
        E._AUTHENTICATION,
    ),
    Unreachable: (E._TRANSPORT, E._ALL_BROKERS_DOWN, E._RESOLVE, E._SSL, E.BROKER_NOT_AVAILABLE, E.NETWORK_EXCEPTION),
    TimedOut: (E._TIMED_OUT, E._MSG_TIMED_OUT, E._TIMED_OUT_QUEUE, E.REQUEST_TIMED_OUT),
    StorageFull: (E.KAFKA_STORAGE_ERROR, E.LOG_DIR_NOT_FOUND),
    PositionLost: (E.OFFSET_OUT_OF_RANGE, E._AUTO_OFFSET_RESET, E._LOG_TRUNCATION),
    Conflict: (
        E.TOPIC_ALREADY_EXISTS,
        E.NON_EMPTY_GROUP,
        E.GROUP_SUBSCRIBED_TO_TOPIC,
        E.DUPLICATE_RESOURCE,
        E.REASSIGNMENT_IN_PROGRESS,
        E._CONFLICT,
    ),
    NotFound: (E.GROUP_ID_NOT_FOUND, E.RESOURCE_NOT_FOUND, E._UNKNOWN_GROUP),
    SettingsError: (
        E.INVALID_CONFIG,
        E.POLICY_VIOLATION,
        E.INVALID_PARTITIONS,
        E.INVALID_REPLICATION_FACTOR,
        E.INVALID_REPLICA_ASSIGNMENT,
        E.INVALID_SESSION_TIMEOUT,
        E.INVALID_TRANSACTION_TIMEOUT,
        E.UNSUPPORTED_VERSION,
        E.UNSUPPORTED_SASL_MECHANISM,
        E.TOPIC_DELETION_DISABLED,
        E.SECURITY_DISABLED,
        E._UNSUPPORTED_FEATURE,
        E._INVALID_ARG,
        E._NOT_CONFIGURED,
    ),
    Fenced: (
        E._FENCED,
        E.PRODUCER_FENCED,
        E.INVALID_PRODUCER_EPOCH,
        E.FENCED_INSTANCE_ID,
        E.FENCED_MEMBER_EPOCH,
        E.STALE_MEMBER_EPOCH,
        E.ILLEGAL_GENERATION,
        E.UNKNOWN_MEMBER_ID,
        E.REBALANCE_IN_PROGRESS,
        E._ASSIGNMENT_LOST,
        E._MAX_POLL_EXCEEDED,
    ),
    TransactionAborted: (E.TRANSACTION_ABORTABLE, E._INCONSISTENT),
    RetriableLogError: (
        E.LEADER_NOT_AVAILABLE,
        E.NOT_LEADER_FOR_PARTITION,
        E.REPLICA_NOT_AVAILABLE,
        E.COORDINATOR_LOAD_IN_PROGRESS,
        E.COORDINATOR_NOT_AVAILABLE,
        E.NOT_COORDINATOR,
        E.NOT_CONTROLLER,
        E.NOT_ENOUGH_REPLICAS,
        E.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        E.CONCURRENT_TRANSACTIONS,
        E.UNSTABLE_OFFSET_COMMIT,
        # A broker that has just come back, or a leader that has just moved: metadata catches up.
        E.FENCED_LEADER_EPOCH,
        E.UNKNOWN_LEADER_EPOCH,
        E.OFFSET_NOT_AVAILABLE,
        E.LISTENER_NOT_FOUND,
        E.INCONSISTENT_TOPIC_ID,
        E.PREFERRED_LEADER_NOT_AVAILABLE,
        E.ELIGIBLE_LEADERS_NOT_AVAILABLE,
        E.FETCH_SESSION_ID_NOT_FOUND,
        E.INVALID_FETCH_SESSION_EPOCH,
        E.THROTTLING_QUOTA_EXCEEDED,
        E._WAIT_COORD,
        E._WAIT_CACHE,
        E._RETRY,
        E._IN_PROGRESS,
        E._PREV_IN_PROGRESS,
    ),
}

TABLE: dict[int, type[TwinstackError]] = {code: kind for kind, codes in _CLASSES.items() for code in codes}

_FIXES: dict[type[TwinstackError], str] = {
    UnknownTopic: "Create the topic first (registering a system does), or check its name.",
    InvalidName: "Use letters, digits, '.', '_' and '-' only.",
    RecordTooLarge: "Send smaller records, or raise the topic's max.message.bytes.",
    QueueFull: "Send slower, or wait until the brokers answer again.",
    PermissionDenied: "Check the user, the password and the rights given to it.",
    Unreachable: "Check that Kafka runs there (`twinstack kafka status`) and that the address is right.",
    TimedOut: "Check that Kafka runs and is not overloaded, then repeat.",
    StorageFull: "Free space on the broker's disk.",
    PositionLost: "Choose another position: earliest, latest or a time.",
    Conflict: "Look at what exists already, and choose another name or remove it.",
    NotFound: "Check the name.",
    SettingsError: "Correct the setting.",
    Fenced: "Another process has taken over; this one must stop.",
    TransactionAborted: "Abort, go back to the last committed positions and repeat.",
    RetriableLogError: "Repeat the same call.",
    FatalLogError: "Close this client and open a new one.",
}

_SILENT = (PermissionDenied, Unreachable)
"""Of these the broker's text is not shown: it dumps requests, or names internal connections."""


def kind_of(error: KafkaError) -> type[TwinstackError]:
    if error.txn_requires_abort():
        return TransactionAborted
    kind = TABLE.get(error.code())
    if kind is not None:
        return kind
    return RetriableLogError if error.retriable() else FatalLogError


def mapped(error: KafkaError, action: str, *, servers: str = "", topic: str | None = None) -> TwinstackError:
    """The project's error for one of librdkafka. `action` completes 'Kafka could not ...'."""
    kind = kind_of(error)
    if kind is Unreachable:
        message = f"No Kafka broker answers at {servers or 'the given address'}: could not {action}."
    elif kind is UnknownTopic and topic:
        message = f"The topic '{topic}' does not exist: could not {action}."
    else:
        told = "" if issubclass(kind, _SILENT) else f": {error.str()}"
        message = f"Kafka could not {action} ({error.name()}){told}"
        message += "" if message.endswith(".") else "."
    fields = {"kafka_error": error.name()} | ({"topic": topic} if topic else {})
    return kind(message, fix=_FIXES[kind], **fields)
