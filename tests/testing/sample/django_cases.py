"""Test cases of Django's with RoutingTestMixin, for Django's runner and for pytest."""
# ruff: noqa: PT009, PT027 (these are test cases of Django's)

from __future__ import annotations

import json
import threading
from typing import Any
from urllib.request import urlopen

from django.core.exceptions import ImproperlyConfigured, SynchronousOnlyOperation
from django.db import DatabaseError, connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import TransactionManagementError
from django.test import LiveServerTestCase, SimpleTestCase, TestCase, TransactionTestCase

from django_aurora_routing.routing.blocks import in_reader, in_writer
from django_aurora_routing.routing.clusters import clusters
from django_aurora_routing.routing.errors import WritePrevented
from django_aurora_routing.routing.lag import lags
from django_aurora_routing.routing.scopes import current_scope, scope
from django_aurora_routing.testing import RoutingTestMixin, capture_routes, mirror_readers, observed_lag, stale_readers

from .models import Item


def names() -> list[str]:
    return list(Item.objects.order_by("pk").values_list("name", flat=True))


class Mirrors(RoutingTestMixin, TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        Item.objects.create(name="class")

    def test_a_reader_shows_the_open_transaction(self) -> None:
        Item.objects.create(name="test")
        with scope(), self.assertRoutedTo("reader"):
            self.assertEqual(names(), ["class", "test"])

    def test_objects_say_that_they_are_the_readers(self) -> None:
        self.assertEqual(Item.objects.get()._state.db, "reader")

    def test_what_one_test_writes_is_not_there_in_the_next(self) -> None:
        self.assertEqual(names(), ["class"])
        Item.objects.create(name="another")

    def test_a_test_is_not_pinned_by_those_before(self) -> None:
        for _ in range(2):
            self.assertFalse(current_scope().is_pinned("default"))
        with self.assertRoutedTo("reader"):
            names()
        Item.objects.create(name="pins")
        with self.assertRoutedTo("default"):
            names()

    test_a_test_is_not_pinned_by_this_one_either = test_a_test_is_not_pinned_by_those_before

    def test_a_reader_refuses_writes(self) -> None:
        with self.assertRaises(WritePrevented):
            Item.objects.using("reader").create(name="no")
        with self.assertRaises(WritePrevented), connections["reader"].cursor() as cursor:
            cursor.execute("DELETE FROM sample_item")
        self.assertEqual(names(), ["class"])

    def test_each_request_has_a_scope(self) -> None:
        with self.assertNumQueriesByAlias({"default": 2}):
            self.client.post("/")
        with self.assertNumQueriesByAlias({"reader": 1}):
            shown = self.client.get("/").json()
        self.assertEqual(shown, {"names": ["class", "posted"], "aliases": ["reader"]})

    def test_queries_are_counted_by_alias(self) -> None:
        with self.assertNumQueries(1, using="reader"), self.assertNumQueries(0):
            names()

    def test_a_block_on_the_reader_is_a_savepoint(self) -> None:
        with transaction.atomic(using="reader"):
            Item.objects.create(name="inner")
        with self.assertRaises(ZeroDivisionError), transaction.atomic(using="reader"):
            Item.objects.create(name="undone")
            1 / 0  # noqa: B018
        with scope():
            self.assertEqual(names(), ["class", "inner"])

    def test_an_error_on_the_reader_is_the_readers(self) -> None:
        with self.assertRaises(DatabaseError), transaction.atomic(), connections["reader"].cursor() as cursor:
            cursor.execute("SELECT nonsense")
        self.assertEqual(names(), ["class"])

    async def test_asynchronous_tests(self) -> None:
        await Item.objects.acreate(name="async")
        async with scope(), self.assertRoutedTo("reader") as routes:
            self.assertEqual(await Item.objects.acount(), 2)
        self.assertEqual([query.model for query in routes], ["sample.Item"])

    def test_a_mirror_is_a_database_wrapper(self) -> None:
        mirror: Any = connections["reader"]
        self.assertIsInstance(mirror, type(connections["default"]))
        self.assertIsInstance(mirror, BaseDatabaseWrapper)
        self.assertEqual(mirror.alias, "reader")
        self.assertIn("'reader'", repr(mirror))
        self.assertIs(mirror.connection, connections["default"].connection)
        self.assertEqual(mirror.settings_dict["TEST"]["MIRROR"], "default")


class AllNamed(Mirrors):
    databases = "__all__"


class ReaderNamed(Mirrors):
    databases = {"default", "reader"}


class MirrorsByHand(TestCase):
    @mirror_readers()
    def test_decorator(self) -> None:
        Item.objects.create(name="seen")
        with scope(), capture_routes() as routes:
            self.assertEqual(names(), ["seen"])
        self.assertEqual(routes.by_alias(), {"reader": 1})

    @mirror_readers("reader")
    async def test_decorator_of_a_coroutine_function(self) -> None:
        await Item.objects.acreate(name="seen")
        async with scope():
            self.assertEqual((await Item.objects.aget())._state.db, "reader")

    def test_the_reader_itself_is_back_afterwards(self) -> None:
        before = connections["reader"]
        with mirror_readers():
            mirror = connections["reader"]
            self.assertIsNot(mirror, before)
        self.assertIs(connections["reader"], before)
        self.assertEqual(mirror.queries_log, before.queries_log)  # to whom one that was kept leads from now on

    def test_only_readers_have_mirrors(self) -> None:
        with self.assertRaisesMessage(ImproperlyConfigured, "'raeder' is no reader. Did you mean 'reader'?"):
            mirror_readers("raeder").__enter__()


class Assertions(RoutingTestMixin, TestCase):
    def assertSays(self, message: str, context: Any, *work: Any) -> None:
        with self.assertRaises(AssertionError) as caught, context:
            for each in work:
                each()
        self.assertIn(message, str(caught.exception))

    def test_routed_to(self) -> None:
        with self.assertRoutedTo("reader", Item), self.assertRoutedTo("reader", "sample.Item"):
            names()
        self.assertSays("There was no query about sample.Item", self.assertRoutedTo("reader", Item))
        self.assertSays("There was no query;", self.assertRoutedTo("reader"))
        self.assertSays("default: DELETE FROM", self.assertRoutedTo("reader"), names, Item.objects.all().delete)

    def test_number_of_queries(self) -> None:
        with self.assertNumQueriesByAlias({"default": 0, "reader": 1}) as routes:
            names()
        self.assertEqual(len(routes), 1)
        self.assertSays(
            "Expected queries by alias: {'default': 1}, made: {'reader': 2}",
            self.assertNumQueriesByAlias({"default": 1}),
            names,
            names,
        )

    def test_no_writes(self) -> None:
        with self.assertNoWrites():
            names()
            with transaction.atomic():
                list(Item.objects.select_for_update())
        self.assertSays("INSERT INTO", self.assertNoWrites(), Item(name="new").save)

    def test_an_error_of_the_block_goes_on(self) -> None:
        for context in (self.assertRoutedTo("x"), self.assertNoWrites(), self.assertNumQueriesByAlias({"x": 1})):
            with self.assertRaises(ZeroDivisionError), context:
                1 / 0  # noqa: B018

    def test_reasons(self) -> None:
        with self.captureRoutes() as routes:
            names()
            Item.objects.using("default").count()
            with in_writer():
                names()
            Item.objects.create(name="new")
            names()
        self.assertEqual(
            [(query.alias, query.reason, query.model) for query in routes],
            [
                ("reader", "the reader of this scope", "sample.Item"),
                ("default", None, "sample.Item"),
                ("default", "in_writer() is in force", "sample.Item"),
                ("default", "the writer of cluster 'default'", "sample.Item"),
                ("default", "this scope has written", "sample.Item"),
            ],
        )
        self.assertIn("named by the code", str(routes))
        self.assertEqual(routes.by_alias(), {"reader": 1, "default": 4})

    def test_nothing_is_left_behind(self) -> None:
        before = [list(one.execute_wrappers) for one in connections.all()], list(router.routers)
        with self.captureRoutes():
            names()
        self.assertEqual(([list(one.execute_wrappers) for one in connections.all()], list(router.routers)), before)

    async def test_in_asynchronous_code_it_is_entered_so(self) -> None:
        with self.assertRaisesMessage(SynchronousOnlyOperation, "Enter capture_routes() by `async with`"):
            self.captureRoutes().__enter__()

    def test_observed_lag(self) -> None:
        cluster = clusters().by_name["default"]
        with observed_lag({"reader": 0.2}) as seconds:
            self.assertEqual([lag.seconds for lag in lags(cluster)], [0.2])
            with in_reader(max_lag=0.1), self.assertRoutedTo("default"):
                names()
            seconds["reader"] = 0.05
            with in_reader(max_lag=0.1), self.assertRoutedTo("reader"):
                names()
        self.assertNotIn("reader", [lag.reader for lag in lags(cluster)])  # a cluster has lags of its own


class Transactions(RoutingTestMixin, TransactionTestCase):
    def test_a_reader_shows_what_is_committed_and_what_is_not(self) -> None:
        self.assertEqual(names(), [])
        with scope(), transaction.atomic():
            Item.objects.create(name="one")
            self.assertEqual(names(), ["one"])
        with scope(), self.assertRoutedTo("reader"):
            self.assertEqual(names(), ["one"])

    test_tables_are_flushed_in_between = test_a_reader_shows_what_is_committed_and_what_is_not

    def test_another_thread_has_a_mirror_too(self) -> None:
        Item.objects.create(name="committed")
        if connections["default"].vendor == "sqlite" and connections["default"].is_in_memory_db():
            self.skipTest("threads do not share it")
        found: list[Any] = []

        def read() -> None:
            found.extend([names(), Item.objects.get()._state.db])
            connections.close_all()

        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
        self.assertEqual(found, [["committed"], "reader"])


class Stale(RoutingTestMixin, TransactionTestCase):
    def test_readers_are_behind_until_they_catch_up(self) -> None:
        Item.objects.create(name="old")
        with stale_readers() as readers:
            Item.objects.create(name="new")
            self.assertEqual(names(), ["old", "new"])
            with scope(), self.assertRoutedTo("reader"):
                self.assertEqual(names(), ["old"])
            Item.objects.using("default").update(name="changed")
            with scope():
                self.assertEqual(self.client.get("/").json(), {"names": ["old"], "aliases": ["reader"]})
                with transaction.atomic(using="reader"):
                    self.assertEqual(names(), ["old"])
                connections.close_all()
                self.assertEqual(names(), ["old"])
                with self.assertRaises(WritePrevented):
                    Item.objects.using("reader").create(name="no")
            readers.catch_up()
            with scope():
                self.assertEqual(names(), ["changed", "changed"])
            Item.objects.all().delete()
            with scope():
                self.assertEqual(names(), ["changed", "changed"])
            readers.catch_up("reader")
            with scope():
                self.assertEqual(names(), [])
        with scope():
            self.assertEqual(names(), [])

    def test_a_thread_sees_the_same_and_has_its_reader_back(self) -> None:
        if connections["default"].vendor == "sqlite" and connections["default"].is_in_memory_db():
            self.skipTest("threads do not share it")
        found: list[Any] = []
        go_on = [threading.Event(), threading.Event()]

        def read() -> None:
            with scope():
                found.append(names())
            go_on[0].set()
            go_on[1].wait(10)
            with scope():
                found.append(names())
            connections.close_all()

        Item.objects.create(name="old")
        thread = threading.Thread(target=read)
        with stale_readers():
            Item.objects.create(name="new")
            thread.start()
            go_on[0].wait(10)
        go_on[1].set()
        thread.join()
        self.assertEqual(found, [["old"], ["old", "new"]])


class StaleInATransaction(RoutingTestMixin, TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        Item.objects.create(name="class")

    def test_what_is_not_committed(self) -> None:
        if connections["default"].vendor != "sqlite":
            with self.assertRaisesMessage(TransactionManagementError, "use a TransactionTestCase"):
                stale_readers().__enter__()
            return
        with stale_readers() as readers:
            Item.objects.create(name="new")
            with scope():
                self.assertEqual(names(), ["class"])
            readers.catch_up()
            with scope():
                self.assertEqual(names(), ["class", "new"])


class Live(RoutingTestMixin, LiveServerTestCase):
    def test_the_servers_threads_read_from_readers(self) -> None:
        Item.objects.create(name="live")
        for _ in range(2):
            with urlopen(self.live_server_url) as response:
                self.assertEqual(json.load(response), {"names": ["live"], "aliases": ["reader"]})


class WithoutDatabases(RoutingTestMixin, SimpleTestCase):
    def test_a_mirror_is_forbidden_with_its_writer(self) -> None:
        for alias in ("default", "reader"):
            with self.assertRaisesMessage(Exception, f"to '{alias}' are not allowed"):
                Item.objects.using(alias).count()
