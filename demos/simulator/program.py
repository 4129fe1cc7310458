"""What all demo programs share: their arguments, a client, a steady loop and a clean end.

python demos/CarFleet/Car1/car_1.py                                   the server at http://localhost:1908
python demos/CarFleet/Car1/car_1.py --server http://localhost:1918    another one
python demos/CarFleet/Car1/car_1.py --kafka localhost:9092            records through Kafka
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from twinstack import DigitalTwinClient
from twinstack.core.errors import TwinstackError, Unavailable


class Program:
    """One demo program: `with Program(...) as program: program.every(10, measure)`."""

    def __init__(self, folder: Path, client_name: str, system: str, additional_attributes: str = "") -> None:
        self._folder = folder
        options = _options(client_name)
        self.stopped = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self.stopped.set())
        address: dict[str, Any] = (
            {"kafka_bootstrap_servers": options.kafka} if options.kafka else {"kafka_rest_server": options.server}
        )
        self.client = DigitalTwinClient(
            client_name=client_name,
            system=system,
            gost_servers=options.server,
            additional_attributes=additional_attributes,
            **address,
        )

    def __enter__(self) -> Program:
        self.client.register(instance_file=self._folder / "instances.json")
        subscriptions = self._folder / "subscriptions.json"
        if json.loads(subscriptions.read_text(encoding="utf-8"))["subscribed_datastreams"]:
            self.client.subscribe(subscription_file=subscriptions)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()

    def every(
        self, interval_s: float, measure: Callable[[float], None], receive: Callable[[Any], None] | None = None
    ) -> None:
        """Calls `measure(epoch_s)` now and every `interval_s`; in between `receive(record)` for what arrives."""
        due_s = time.time()
        while not self.stopped.is_set():
            if time.time() >= due_s:
                self._try(lambda: measure(time.time()))
                due_s = max(due_s + interval_s, time.time())
            wait_s = min(1.0, max(0.0, due_s - time.time()))
            if receive is None:
                self.stopped.wait(wait_s)
            else:
                self._try(partial(self._receive, receive, wait_s))

    def _receive(self, receive: Callable[[Any], None], timeout_s: float) -> None:
        for record in self.client.consume(timeout=timeout_s):
            receive(record)

    def _try(self, step: Callable[[], None]) -> None:
        """A server that is away for a while ends no program: it is said, and the next step tries again."""
        try:
            step()
        except Unavailable as error:
            print(f"WARNING: {error}", file=sys.stderr, flush=True)
            self.stopped.wait(1.0)


def iso(epoch_s: float) -> str:
    """ISO 8601 in UTC with microseconds, as the original's programs print it."""
    return datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="microseconds")


def _options(client_name: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=f"Demo program {client_name} of the Digital Twin Stack")
    parser.add_argument("--server", default=os.environ.get("TWINSTACK_SERVER", "http://localhost:1908"))
    parser.add_argument("--kafka", default=os.environ.get("TWINSTACK_KAFKA", ""), help="host:port of Kafka brokers")
    return parser.parse_args()


def main(run: Callable[[], None]) -> None:
    """Runs a program; an error is one line that says what to do, never a traceback."""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    try:
        run()
    except TwinstackError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
