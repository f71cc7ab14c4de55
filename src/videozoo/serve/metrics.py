"""Figures of a server for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


class Metrics:
    """Counts of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._jobs = Counter(
            "videozoo_jobs", "Jobs that are over.", ["outcome"], registry=self._registry
        )
        self._seconds = Histogram(
            "videozoo_job_seconds",
            "Time from the start of a job to its end.",
            registry=self._registry,
            buckets=(0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800),
        )
        self._uploads = Counter(
            "videozoo_upload_bytes", "Bytes of complete uploads.", registry=self._registry
        )
        self._refused = Counter(
            "videozoo_refused", "Requests for a job that were refused.", ["status"],
            registry=self._registry,
        )  # fmt: skip
        self._states = Gauge(
            "videozoo_jobs_now", "Jobs that are kept, by state.", ["state"],
            registry=self._registry,
        )  # fmt: skip
        for outcome in ("done", "failed"):
            self._jobs.labels(outcome)

    def job_over(self, *, ok: bool, seconds: float) -> None:
        """Count a job."""
        self._jobs.labels("done" if ok else "failed").inc()
        self._seconds.observe(seconds)

    def uploaded(self, size: int) -> None:
        """Count a complete upload."""
        self._uploads.inc(size)

    def refused(self, status: int) -> None:
        """Count a request for a job that was refused."""
        self._refused.labels(str(status)).inc()

    def text(self, states: Callable[[], Mapping[str, int]]) -> bytes:
        """All figures in Prometheus' form."""
        for state, number in states().items():
            self._states.labels(state).set(number)
        return generate_latest(self._registry)
