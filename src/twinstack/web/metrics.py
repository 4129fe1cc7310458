"""`GET /metrics`: Prometheus text about requests, flow, apps and child processes."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from twinstack import __version__
from twinstack.web.requests import Requests


class Metrics:
    """`platform` gives rates, apps and children when they are asked for: nothing is computed between scrapes."""

    def __init__(self, platform: Any, requests: Requests) -> None:
        self._platform = platform
        self._requests = requests
        self._started_s = time.time()
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._registry.register(self)

    def endpoint(self, _: Request) -> Response:
        return Response(generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    def describe(self) -> Iterable[Metric]:
        """Nothing is collected at registration: the platform may not be open yet."""
        return ()

    def collect(self) -> Iterable[Metric]:
        info = GaugeMetricFamily("twinstack_info", "Version and mode of the server.", labels=("version", "mode"))
        info.add_metric((__version__, str(self._platform.mode)), 1)
        yield info
        requests = CounterMetricFamily("twinstack_http_requests", "Answers.", labels=("door", "method", "status"))
        for (door, method, status), n in list(self._requests.count.items()):
            requests.add_metric((door, method, str(status)), n)
        yield requests
        seconds = CounterMetricFamily("twinstack_http_seconds", "Time spent on answers.", labels=("door",))
        for door, total in list(self._requests.seconds.items()):
            seconds.add_metric((door,), total)
        yield seconds
        rates = GaugeMetricFamily("twinstack_topic_records_per_second", "Over the last minute.", labels=("topic",))
        for topic, rate in self._platform.live.rates().items():
            rates.add_metric((topic,), rate)
        yield rates
        apps = GaugeMetricFamily("twinstack_app_up", "1 for the state the app is in.", labels=("app", "name", "state"))
        for app in self._platform.apps.states():
            apps.add_metric((app["uid"], app["name"], app["state"]), 1)
        yield apps
        children = GaugeMetricFamily("twinstack_child_up", "1 while the child runs.", labels=("name", "kind"))
        for name, child in self._platform.supervisor.states().items():
            children.add_metric((name, child["kind"]), float(child["state"] == "running"))
        yield children
