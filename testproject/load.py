"""A write load on the shop while its writer is killed, and the account of it: every row keyed, every fate known.

Half of the threads insert one row by itself (autocommit), half write a row and raise a stock in one transaction.
Nothing in the table stops a row from being there twice, so a doubled write would be seen.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from django.db import DatabaseError, close_old_connections, connections

from django_aurora_routing import FailoverSuccessError
from django_aurora_routing.lab import Instance, LocalCluster, Promotion

from .shop.deliveries import receive
from .shop.models import Delivery, Product, Stock

ALONE, IN_TRANSACTION = "LAMP-01", "MUG-07"
PAUSE_SECONDS = 0.05  # after an error that says nothing of a new writer
LAST_WORD_SECONDS = 90.0


@dataclass
class Account:
    """What one thread was told by its database, row by row."""

    acknowledged: dict[uuid.UUID, float] = field(default_factory=dict)  # when
    found_by_key: set[uuid.UUID] = field(default_factory=set)  # the answer was lost, the row was there
    unresolved: set[uuid.UUID] = field(default_factory=set)
    errors: Counter[str] = field(default_factory=Counter)
    unexpected: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Report:
    """The whole run. Times are of `time.monotonic()`."""

    killed: Instance
    killed_pid: int | None
    killed_at: float
    promotion: Promotion
    accounts: tuple[Account, ...]
    rows: Counter[uuid.UUID]
    half_transactions: int

    @property
    def acknowledged(self) -> set[uuid.UUID]:
        return set().union(*(account.acknowledged for account in self.accounts))

    @property
    def unresolved(self) -> set[uuid.UUID]:
        return set().union(*(account.unresolved for account in self.accounts))

    @property
    def lost(self) -> int:
        return len(self.acknowledged - set(self.rows))

    @property
    def doubled(self) -> int:
        return sum(count > 1 for count in self.rows.values())

    @property
    def unexpected(self) -> list[str]:
        return [line for account in self.accounts for line in account.unexpected]

    @property
    def is_clean(self) -> bool:
        went_on = all(self._first_after(account) is not None for account in self.accounts)
        return went_on and not (self.lost or self.doubled or self.half_transactions or self.unexpected)

    def _first_after(self, account: Account) -> float | None:
        # The old writer's last answers may still be on their way up when the kill returns: draw the line later.
        return min((at for at in account.acknowledged.values() if at > self.promotion.started), default=None)

    def timeline(self) -> Iterator[str]:
        """A line an event, in seconds since the kill."""
        moments = [at for account in self.accounts for at in account.acknowledged.values()]
        firsts = [self._first_after(account) for account in self.accounts]
        back = [at for at in firsts if at is not None]
        events = [
            (self.killed_at, f"instance {self.killed.id}, the writer, killed (process {self.killed_pid})"),
            (self.promotion.started, f"promotion of instance {self.promotion.new} began"),
            (self.promotion.writable, f"instance {self.promotion.new} accepts writes"),
            (self.promotion.finished, "the other instances follow it"),
        ]
        if before := [at for at in moments if at <= self.promotion.started]:
            events.append((max(before), f"last write that instance {self.killed.id} acknowledged"))
        if back:
            after = min(back) - self.promotion.writable
            events.append((min(back), f"first write since, {after * 1000:.0f} ms after the new writer accepts them"))
            events.append((max(back), f"all {len(back)} threads write again"))
        for at, text in sorted(events):
            yield f"{at - self.killed_at:+8.3f} s  {text}"

    def balance(self) -> Iterator[str]:
        """What was promised, against what is there."""
        errors = sum((account.errors for account in self.accounts), Counter[str]())
        yield f"errors by class            {', '.join(f'{n} x {name}' for name, n in errors.items()) or 'none'}"
        found = sum(len(account.found_by_key) for account in self.accounts)
        yield f"writes of unknown fate     {found} looked up by their key and found written, the rest repeated"
        yield f"rows acknowledged          {len(self.acknowledged)}"
        yield f"rows in the database       {sum(self.rows.values())}"
        yield f"rows lost                  {self.lost}"
        yield f"rows doubled               {self.doubled}"
        yield f"half transactions          {self.half_transactions}"
        if self.unresolved:
            yield f"rows nobody knows about    {len(self.unresolved)} (the run ended first)"
        for line in self.unexpected:
            yield f"UNEXPECTED: {line}"


class Load:
    """Threads that write until told to stop."""

    def __init__(self, cluster: LocalCluster, *, threads: int, say: Callable[[str], None]) -> None:
        self._cluster = cluster
        self._say = say
        self._stop = threading.Event()
        self._products = {product.sku: product for product in Product.objects.using("default")}
        self._accounts = tuple(Account() for _ in range(threads))

    def run(self, *, before_kill: float, before_promotion: float, after_promotion: float) -> Report:
        """Write, kill the writer, promote a reader, write on; return the account of it."""
        opening_stock = self._stock()
        writer = self._cluster.writer
        with self._writing():
            self._watch(before_kill)
            pid = writer.pid
            writer.kill()
            killed_at = time.monotonic()
            self._say(f"killed instance {writer.id}, the writer (process {pid})")
            self._watch(before_promotion)
            promotion = self._cluster.promote()
            self._say(f"promoted instance {promotion.new} in {promotion.seconds * 1000:.0f} ms")
            self._watch(after_promotion)
        rows = self._rows()
        in_transaction = self._rows(IN_TRANSACTION)
        return Report(
            killed=writer,
            killed_pid=pid,
            killed_at=killed_at,
            promotion=promotion,
            accounts=self._accounts,
            rows=rows,
            half_transactions=abs(self._stock() - opening_stock - sum(in_transaction.values())),
        )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        works = (self._receive_alone, self._receive_in_transaction)
        threads = [
            threading.Thread(target=self._write_on, args=(account, works[number % 2]), daemon=True)
            for number, account in enumerate(self._accounts)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
        # After a Ctrl-C nobody waits for them: a thread without a writer would take until failover_timeout_sec.
        deadline = time.monotonic() + LAST_WORD_SECONDS
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _watch(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, 0.5))
            written = sum(len(account.acknowledged) for account in self._accounts)
            errors = sum(sum(account.errors.values()) for account in self._accounts)
            self._say(f"{written} writes acknowledged, {errors} errors")

    def _write_on(self, account: Account, work: Callable[[uuid.UUID], None]) -> None:
        try:
            while not self._stop.is_set():
                close_old_connections()  # what Django does before each request
                self._write_one(account, work, uuid.uuid4())
        except Exception as error:  # noqa: BLE001 - whatever it is, the report must have it
            account.unexpected.append(f"{type(error).__name__}: {error}")
        finally:
            connections.close_all()

    def _write_one(self, account: Account, work: Callable[[uuid.UUID], None], key: uuid.UUID) -> None:
        """Write the row of `key` once, whatever it takes."""
        account.unresolved.add(key)
        is_in_doubt = False
        while True:
            try:
                if is_in_doubt and Delivery.objects.using("default").filter(reference=key).exists():
                    account.found_by_key.add(key)
                else:
                    work(key)
                account.acknowledged[key] = time.monotonic()
                account.unresolved.discard(key)
                return
            except FailoverSuccessError as error:  # certainly not written: write it again
                account.errors[type(error).__name__] += 1
            except DatabaseError as error:  # perhaps written: look before writing it again
                account.errors[type(error).__name__] += 1
                is_in_doubt = True
                if self._stop.wait(PAUSE_SECONDS):
                    return

    def _receive_alone(self, key: uuid.UUID) -> None:
        Delivery.objects.create(product=self._products[ALONE], quantity=1, reference=key)

    def _receive_in_transaction(self, key: uuid.UUID) -> None:
        receive(self._products[IN_TRANSACTION], 1, key)

    def _stock(self) -> int:
        return Stock.objects.using("default").get(product=self._products[IN_TRANSACTION]).quantity

    def _rows(self, sku: str | None = None) -> Counter[uuid.UUID]:
        """The rows there are, asked of the writer's own administrator account, past everything that is shown here."""
        where = f" WHERE product_id = {self._products[sku].pk}" if sku else ""
        rows = self._cluster.writer.query(f"SELECT CAST(reference AS CHAR) FROM shop_delivery{where}")
        return Counter(uuid.UUID(reference) for (reference,) in rows)
