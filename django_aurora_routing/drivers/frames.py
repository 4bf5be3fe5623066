"""Takes the frames out of an error of a login: they hold what a driver sent, and error pages show what they hold."""

from __future__ import annotations


def without_frames(error: BaseException) -> BaseException:
    """The same error, and those that led to it, without their tracebacks."""
    seen: set[int] = set()
    rest: list[BaseException | None] = [error]
    while rest:
        one = rest.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            one.__traceback__ = None
            rest += [one.__cause__, one.__context__]
    return error
