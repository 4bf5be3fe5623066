"""The work of one thread: transfers, receipts, and pages that are written and read again, as its own dice say."""

from __future__ import annotations

import random
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from django.db import OperationalError, close_old_connections, connections, transaction
from django.db.models import F

from django_aurora_routing import (
    FailoverFailedError,
    FailoverSuccessError,
    TransactionResolutionUnknownError,
    retry_on_failover,
    scope,
)

from .ledger import Ledger
from .models import Account, Page, Receipt, Transfer
from .site import ACCOUNTS
from .watch import Watch

LOCKS = {1205: "LockWaitTimeout", 1213: "Deadlock"}
"""MySQL's own errors, which transfers that lock in no fixed order meet in peace, too. What they end is rolled back."""

PATIENT_SECONDS = 16.0
"""How long a unit of work lasts that outlives its pin."""


def fate_after(error: BaseException) -> str | None:
    """What a documented error says of the work that it ended; None for all others."""
    if isinstance(error, TransactionResolutionUnknownError):
        return "unknown"
    if isinstance(error, (FailoverSuccessError, FailoverFailedError)):
        return "failed"
    if isinstance(error, OperationalError) and error.args and error.args[0] in LOCKS:
        return "failed"
    return None


def name_of(error: BaseException) -> str:
    number = error.args[0] if error.args else None
    return LOCKS.get(number, type(error).__name__) if isinstance(number, int) else type(error).__name__


class Customer:
    """Works until the run is over. `page` is the key of the page that nobody else writes."""

    def __init__(self, name: str, *, page: int, pages: int, rng: random.Random, ledger: Ledger, watch: Watch) -> None:
        self.name = name
        self._page, self._pages = page, pages
        self._rng, self._ledger, self._watch = rng, ledger, watch
        self._number = self._version = 0
        self._hooks: list[str] = []
        self._transfer_exactly_once = retry_on_failover("default", exactly_once=True)(self._transfer)

    def thread(self) -> threading.Thread:
        return threading.Thread(target=self.work, name=self.name, daemon=True)

    def work(self) -> None:
        """All there is to do, again and again. An error that is no documented one ends it, and is in the ledger."""
        works = (self._move_exactly_once, self._move, self._receive, self._read_and_write)
        try:
            while not self._watch.is_over.is_set():
                if self._rng.random() < 0.3:
                    close_old_connections()  # what Django does before each request
                self._rng.choices(works, (3, 2, 3, 3))[0]()
            connections.close_all()
            self._ledger.note("end", who=self.name)
        except Exception as error:  # noqa: BLE001 - whatever it is, the verdict must have it
            self._ledger.note("surprise", who=self.name, error=repr(error), trace=traceback.format_exc())

    def _do(self, kind: str, work: Callable[[], object], facts: dict[str, Any]) -> None:
        """Do it within the bound, and note what it was told; `facts` may grow meanwhile."""
        began = time.monotonic()
        with self._watch.over(self.name, f"{kind} {facts}"):
            try:
                work()
                facts["fate"] = "done"
            except Exception as error:
                if (fate := fate_after(error)) is None:
                    raise
                facts.update(fate=fate, error=name_of(error), text=str(error)[:400])
        self._ledger.note(kind, who=self.name, seconds=round(time.monotonic() - began, 4), **facts)

    def _next_name(self, of: str) -> str:
        self._number += 1
        name = f"{self.name}-{self._number}"
        if of != "unit":
            self._ledger.note("begun", who=self.name, of=of, name=name)
        return name

    # -- the bank

    def _move_exactly_once(self) -> None:
        self._move("exactly once", self._transfer_exactly_once)

    def _move(self, kind: str = "transfer", transfer: Callable[..., None] | None = None) -> None:
        payer, payee = self._rng.sample(range(1, ACCOUNTS + 1), 2)
        amount, pause = self._rng.randint(1, 50), self._rng.choice((0.0, 0.0, 0.02))
        name = self._next_name(kind)
        facts: dict[str, Any] = {"name": name}
        self._hooks.clear()

        def work() -> None:
            try:
                (transfer or self._transfer_in_atomic)(name, payer, payee, amount, pause)
            finally:
                facts["hooks"] = self._hooks.count(name)

        self._do(kind, work, facts)

    def _transfer_in_atomic(self, name: str, payer: int, payee: int, amount: int, pause: float) -> None:
        with transaction.atomic("default"):
            self._transfer(name, payer, payee, amount, pause)

    def _transfer(self, name: str, payer: int, payee: int, amount: int, pause: float) -> None:
        transaction.on_commit(lambda: self._hooks.append(name), using="default")
        accounts = Account.objects.using("default")
        accounts.filter(pk=payer).update(balance=F("balance") - amount)
        time.sleep(pause)
        Transfer.objects.using("default").create(name=name, payer=payer, payee=payee, amount=amount)
        accounts.filter(pk=payee).update(balance=F("balance") + amount)

    # -- receipts

    def _receive(self) -> None:
        name = self._next_name("receipt")
        self._do("receipt", lambda: Receipt.objects.create(name=name), {"name": name})

    # -- pages

    def _read_and_write(self) -> None:
        """One unit of work, as a request is; now and then one that outlives its pin."""
        unit, rng = self._next_name("unit"), self._rng
        steps, is_patient = rng.randint(2, 8), rng.random() < 0.01
        ends_at = time.monotonic() + PATIENT_SECONDS
        with scope(unit):
            while (steps > 0 or (is_patient and time.monotonic() < ends_at)) and not self._watch.is_over.is_set():
                if rng.random() < 0.3 and (steps > 0 or not is_patient):
                    self._write(unit)
                else:
                    self._read(unit, self._page if rng.random() < 0.6 else rng.randint(1, self._pages))
                steps -= 1
                time.sleep(rng.choice((0.0, 0.0, 0.01, 0.05)) + 0.1 * (steps < 0))

    def _write(self, unit: str) -> None:
        self._version += 1
        facts = {"unit": unit, "page": self._page, "version": self._version}
        # Never back: a write of unknown fate may arrive when later ones have been made.
        older = Page.objects.filter(pk=self._page, version__lt=self._version)
        self._do("write", lambda: older.update(version=facts["version"]), facts)

    def _read(self, unit: str, key: int) -> None:
        facts: dict[str, Any] = {"unit": unit, "page": key, "own": key == self._page}

        def work() -> None:
            page = Page.objects.get(pk=key)
            alias = page._state.db or ""
            facts.update(version=page.version, alias=alias, server=_server_of(alias))

        self._do("read", work, facts)


def _server_of(alias: str) -> str:
    """Where the alias's connection leads, to find out about a read that went wrong."""
    wrapper: Any = connections[alias]
    return str(wrapper._activity.address)
