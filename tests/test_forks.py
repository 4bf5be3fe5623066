"""What is done in a forked child, without a fork: all of it, whatever fails."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from django_aurora_routing import forks


@pytest.fixture
def begins(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def begins(*callbacks: Callable[[], object]) -> None:
        monkeypatch.setattr(forks, "_callbacks", [])
        for callback in callbacks:
            forks.in_each_child(callback)
        forks._begin_child()

    return begins


def test_each_is_called_and_the_first_error_is_told_at_the_end(begins: Callable[..., None]) -> None:
    done: list[int] = []

    def fails(number: int) -> Callable[[], object]:
        def fail() -> None:
            done.append(number)
            raise ValueError(number)

        return fail

    with pytest.raises(ValueError, match=r"^2$"):
        begins(lambda: done.append(1), fails(2), lambda: done.append(3), fails(4), lambda: done.append(5))
    assert done == [1, 2, 3, 4, 5]


def test_a_hook_of_uwsgi_that_was_there_is_called_too(
    begins: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Master:
        post_fork_hook: Callable[[], object]

    done: list[str] = []

    def fail() -> None:
        raise ValueError("ours")

    monkeypatch.setattr(forks, "_callbacks", [fail])
    monkeypatch.setattr(forks, "_process", -1)
    forks._share_hook(Master, lambda: done.append("theirs"))
    with pytest.raises(ValueError, match="ours"):
        Master.post_fork_hook()
    assert done == ["theirs"]
