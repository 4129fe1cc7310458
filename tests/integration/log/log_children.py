"""Processes that tests kill: `python log_children.py write <path>` and `serve <path> <port>`."""

from __future__ import annotations

import os
import socket
import sys
import threading
from pathlib import Path

from twinstack.log.embedded import EmbeddedLog, housekeeping
from twinstack.log.seam import Delivery, OutRecord, TopicPartition, TopicSpec

SOURCE = TopicPartition("t", 0)


def say(line: str) -> None:
    """One write, so that a kill leaves whole lines."""
    os.write(1, f"{line}\n".encode())


def write(path: str) -> None:
    """Produces `p<n>` and commits transactions `x<n>` to two topics with offset n + 1; says each acknowledgement."""
    housekeeping.TICK_S = 0.01
    log = EmbeddedLog(Path(path))
    log.admin().create_topics([TopicSpec("t"), TopicSpec("u")])
    first_p, first_x = log.catalog.place(SOURCE).next, log.committed("g").get(SOURCE, 0)

    def produce() -> None:
        producer = log.producer()
        number = first_p  # larger than all before: each takes at least one offset

        def acknowledged(report: Delivery | Exception, value: int) -> None:
            say(f"p {value}" if isinstance(report, Delivery) else f"error {report}")

        while True:
            for _ in range(1 + number % 40):
                producer.send(
                    OutRecord("t", b"p%d" % number, b"key"), lambda report, value=number: acknowledged(report, value)
                )
                number += 1
            producer.flush(30)

    threading.Thread(target=produce, daemon=True).start()
    transaction = log.transaction("owner")
    number = first_x
    say("ready")
    while True:
        for topic in ("t", "u"):
            for _ in range(1 + number % 3):
                transaction.send(OutRecord(topic, b"x%d" % number, b"key"))
        transaction.commit("g", {SOURCE: number + 1})
        say(f"x {number}")
        number += 1


def serve(path: str, port: str) -> None:
    import uvicorn

    from twinstack.log.http import LogService

    log = EmbeddedLog(Path(path))
    listening = socket.create_server(("127.0.0.1", int(port)), reuse_port=False)
    config = uvicorn.Config(
        LogService(log, lambda action, topic, scope: None), log_level="error", lifespan="off", ws="none"
    )
    server = uvicorn.Server(config)
    say("ready")
    server.run(sockets=[listening])
    log.close()


if __name__ == "__main__":
    {"write": write, "serve": serve}[sys.argv[1]](*sys.argv[2:])
