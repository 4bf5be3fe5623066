"""Tokens: what is written here is read there, and nothing that others made up is believed."""

from __future__ import annotations

import time
from io import StringIO
from typing import Any

import pytest
from django.core.management import BaseCommand, call_command
from django.core.signing import Signer
from django.db import transaction
from django.test import override_settings

import django_aurora_routing
from django_aurora_routing import apply_token, token
from django_aurora_routing.routing.scopes import mark_written, scope
from django_aurora_routing.routing.tokens import LONGEST, dump_token, load_token

from .conftest import CLUSTERS, names
from .models import Author

pytestmark = pytest.mark.usefixtures("both_routers")

STALE = (["reader1"], ["reader2"])


def with_settings(**more: Any) -> Any:
    return override_settings(AURORA_ROUTING={**CLUSTERS, **more})


def test_a_token_carries_writes_to_another_scope() -> None:
    with scope():
        assert token() == ""
        Author.objects.create(name="new")
        carried = token()
    with scope():
        assert names() in STALE
        apply_token(carried)
        assert names() == ["default", "new"]
        assert load_token(token())["default"] == pytest.approx(load_token(carried)["default"], abs=0.01)
    with scope():
        apply_token("")
        apply_token(None)
        assert names() in STALE
    assert {"token", "apply_token"} <= set(django_aurora_routing.__all__)


def test_one_that_is_made_in_the_transaction_counts_from_then() -> None:
    with scope(), transaction.atomic():
        Author.objects.create(name="new")
        at = load_token(token())["default"]
    assert at == pytest.approx(time.time(), abs=1)


def test_it_is_short_and_fit_for_cookies_and_headers() -> None:
    names = {"a.b": 1, "ü!+|": 1, "default": 1}
    clusters = {
        name: {"writer": alias, "readers": [reader]}
        for name, alias, reader in zip(names, ("default", "external"), ("reader1", "reader2"), strict=False)
    }
    with with_settings(CLUSTERS=clusters):
        commits = {name: time.time() - number for number, name in enumerate(clusters)}
        text = dump_token(commits)
        assert load_token(text) == pytest.approx(commits, abs=0.0011)
        assert all(at >= commits[name] for name, at in load_token(text).items())  # never rounded to an earlier time
    assert text.isascii()
    assert not set(text) & set(' ",;\\=')
    assert len(dump_token({"default": time.time()})) < 70


def test_unknown_clusters_and_those_without_readers_are_left_out() -> None:
    now = time.time()
    assert dump_token({"gone": now}) == ""
    text = dump_token({"default": now, "gone": now})
    assert set(load_token(text)) == {"default"}
    with with_settings(CLUSTERS={"default": {"writer": "default"}}):
        assert dump_token({"default": now}) == ""
        with scope():
            mark_written()
            assert token() == ""
    with with_settings(CLUSTERS={"other": {"writer": "external", "readers": ["reader1"]}}):
        assert load_token(text) == {}


@pytest.mark.parametrize("seconds", [-3600, -6, 6, 3600])
def test_trap_37_a_token_is_worth_nothing_after_its_time(seconds: float) -> None:
    assert load_token(dump_token({"default": time.time() + seconds})) == {}
    assert load_token(dump_token({"default": time.time() + seconds / 1000}))


def test_trap_37_what_was_not_made_here_is_no_token() -> None:
    real = dump_token({"default": time.time()})
    with override_settings(SECRET_KEY="another"):
        others = dump_token({"default": time.time()})
    signed = [
        Signer(salt="django_aurora_routing.token").sign(text) for text in ("", "!", "default", "default.ü", "a.b.")
    ]
    longer = real + "x" * LONGEST
    for forged in (others, real[1:], real[:-1], f"{real}x", "default.1", "\x00", "é:é", longer, *signed):
        assert load_token(forged) == {}
    with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["a shop for demonstrations"]):
        assert load_token(real)


def test_a_command_reads_its_own_writes() -> None:
    class Command(BaseCommand):
        def handle(self, **options: Any) -> None:
            assert names() in STALE
            Author.objects.create(name="of the command")
            self.stdout.write(" ".join(names()))

    out = StringIO()
    call_command(Command(), stdout=out)
    assert out.getvalue() == "default of the command\n"
