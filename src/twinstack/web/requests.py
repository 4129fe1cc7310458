"""Counts of answers, kept by the guard and shown by the metrics."""

from __future__ import annotations

from collections import Counter, defaultdict

_DOORS = (
    "/api/log/v1",
    "/api/v1",
    "/v1.0",
    "/v1.1",
    "/topics",
    "/consumers",
    "/brokers",
    "/live",
    "/static",
    "/metrics",
)


class Requests:
    """Counts answers and their time by door: the first part of the path, of a closed list (a path is not a label)."""

    def __init__(self) -> None:
        self.count: Counter[tuple[str, str, int]] = Counter()
        self.seconds: dict[str, float] = defaultdict(float)

    def add(self, path: str, method: str, status: int, seconds: float) -> None:
        door = next((d for d in _DOORS if path.startswith(d)), "/")
        self.count[
            (door, method if method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE") else "other", status)
        ] += 1
        self.seconds[door] += seconds
