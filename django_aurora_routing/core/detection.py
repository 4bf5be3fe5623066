"""How soon a host that says nothing any more is found dead: the arithmetic of three options, all in seconds."""

from __future__ import annotations

from dataclasses import dataclass

_LONGEST_TICK, _SHORTEST_TICK = 0.25, 0.02


@dataclass(frozen=True, slots=True)
class Detection:
    """`failure_detection_time_ms`, `_interval_ms` and `_count`.

    A blocked call is ended at most `limit` + 1 s after it began, or after its host fell silent while it ran. Of that
    second the monitor's own clockwork takes two ticks at most; the rest is for a machine that is busy.
    """

    time: float = 5.0
    interval: float = 1.0
    count: int = 3

    @property
    def limit(self) -> float:
        """How long a host may be silent; a connect to it takes no longer either."""
        return self.time + self.interval * self.count

    @property
    def tick(self) -> float:
        """The time between two looks at the running calls.

        A call is seen by the first look after it began, and is overdue by the first look that is `time` later.
        """
        return min(_LONGEST_TICK, max(_SHORTEST_TICK, self.time / 4))

    @property
    def pause(self) -> float:
        """The time from a host's answer until it is asked again, while a call on it is overdue.

        A host that falls silent right after an answer costs this in the place of `time`.
        """
        return min(self.interval, self.time)


DEFAULT_DETECTION = Detection()
