"""What a thread does that a fork has carried along into another process, as it does with gevent: nothing, for ever."""

from __future__ import annotations

import os
import time


def rest_if_carried_along(process: int) -> None:
    """Return at once in `process`, in which the calling thread was started, and not at all in a child of it.

    With gevent a thread is a greenlet, and the child has a copy of it besides the one that it starts itself. It is not
    to do the work twice, nor to end: `threading` has forgotten it, and would print a KeyError.
    """
    while os.getpid() != process:
        time.sleep(3600)
