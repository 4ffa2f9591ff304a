"""Schedulers of our own do not keep a record of every graph that was ever sent."""

from __future__ import annotations

from collections.abc import Mapping

from distributed import Client, Scheduler


class NoSpans:
    """In place of dask's extension ``spans``, which keeps some 6 kB of each time that tasks were sent.

    These are for whoever asks the scheduler what took its time; of a run the journal tells that.
    """

    def observe_tasks(self, tasks: object, code: object, span_metadata: object) -> Mapping[str, object]:  # noqa: ARG002
        """Return the spans of tasks: none."""
        return {}

    def heartbeat(self, worker: object, data: object) -> None:
        """Take no notice of how long a worker took for what."""


def forget_spans(client: Client) -> None:
    """Let the scheduler keep no spans, if it runs in this process; others' are left as they are."""
    scheduler = getattr(getattr(client, "cluster", None), "scheduler", None)
    if isinstance(scheduler, Scheduler):
        scheduler.extensions["spans"] = NoSpans()
