"""The shop's second database in its admin, in a real browser: what a person sees and clicks, and where it is written.

The shop runs as it does for anybody, in a process of its own, on SQLite files.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .browser import Browser, Page, find_browser

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def library() -> None:
    """This is about the shop; the other databases are in other processes."""


class Shop:
    """The running shop. 'default' has the product MUG-07 for 1.00, 'external' has it, and TEA-11, for 2.00."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("SHOP_", "DJANGO_"))},
            "SHOP_SQLITE": str(directory),
            "DJANGO_SUPERUSER_PASSWORD": "secret",
        }
        for alias in ("default", "external"):
            self._manage("migrate", "--database", alias, "--verbosity", "0")
        self._manage(
            "createsuperuser", "--noinput", "--username", "grace", "--email", "grace@example.com", "--verbosity", "0"
        )
        for alias, price in (("default", "1.00"), ("external", "2.00")):
            self.execute(alias, "INSERT INTO shop_product VALUES (1, 'MUG-07', ?, ?)", f"mug of {alias}", price)
            self.execute(alias, "INSERT INTO shop_stock (product_id, quantity) VALUES (1, 10)")
        self.execute("external", "INSERT INTO shop_product VALUES (2, 'TEA-11', 'tea of external', '2.00')")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = free.getsockname()
        self.url = "http://{}:{}".format(*self.address)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        with (self.directory / "log").open("w") as log:
            command = self._command("runserver", "--noreload", "{}:{}".format(*self.address))
            server = subprocess.Popen(command, cwd=ROOT, env=self._environment, stdout=log, stderr=log)
            try:
                self._wait_for(server)
                yield
            finally:
                server.terminate()
                server.wait(20)

    def execute(self, alias: str, sql: str, *params: Any) -> list[Any]:
        """What the file of an alias answers, without Django."""
        name = {"default": "shop"}.get(alias, alias)
        with contextlib.closing(sqlite3.connect(self.directory / f"{name}.sqlite3", timeout=20)) as connection:
            rows = connection.execute(sql, params).fetchall()
            connection.commit()
            return rows

    def log_of(self, text: str) -> list[Any]:
        """The admin's log about objects that are called so."""
        flags = "SELECT action_flag FROM django_admin_log WHERE object_repr LIKE ? ORDER BY id"
        assert self.execute("external", flags, f"%{text}%") == []
        return [flag for (flag,) in self.execute("default", flags, f"%{text}%")]

    def _wait_for(self, server: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + 30
        while server.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(self.address, timeout=1):
                return
            time.sleep(0.1)
        pytest.fail(f"the shop does not start: {(self.directory / 'log').read_text()}")

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "testproject", *arguments]

    def _manage(self, *arguments: str) -> None:
        done = subprocess.run(
            self._command(*arguments), cwd=ROOT, env=self._environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def program() -> str:
    """The browser to run; what needs one is skipped without."""
    if (program := find_browser()) is None:
        pytest.skip("no browser of the Chrome family here: `make browser` installs one, CHROME_BIN names another")
    return program


@pytest.fixture(scope="module")
def shop(program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    shop = Shop(tmp_path_factory.mktemp("shop"))
    with shop.running():
        yield shop


@pytest.fixture(scope="module")
def browser(program: str) -> Iterator[Browser]:
    browser = Browser(program)
    yield browser
    browser.close()
    deadline = time.monotonic() + 5
    while left := processes_of(browser):
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.1)


def processes_of(browser: Browser) -> list[str]:
    """Those of its process group or with its profile, zombies apart."""
    listing = subprocess.run(["ps", "-A", "-o", "pgid=,stat=,args="], capture_output=True, text=True, check=True).stdout
    found = []
    for line in listing.splitlines():
        group, state, *_ = line.split()
        if (int(group) == browser.process.pid or browser.profile in line) and not state.startswith("Z"):
            found.append(line)
    return found


@pytest.fixture(scope="module")
def page(shop: Shop, browser: Browser) -> Page:
    """Logged in, on the admin of the second database."""
    page = browser.page()
    page.go(f"{shop.url}/external-admin/")
    page.type("[name=username]", "grace")
    page.type("[name=password]", "secret")
    page.follow("[type=submit]")
    assert "Site administration" in page.text()
    return page


@pytest.fixture(autouse=True)
def nothing_failed(shop: Shop, browser: Browser) -> Iterator[None]:
    """No page, and nothing on one, may fail; no product of 'default' may change."""
    browser.failures.clear()
    yield
    assert browser.failures == [], (shop.directory / "log").read_text()[-3000:]
    assert shop.execute("default", "SELECT sku, name FROM shop_product") == [("MUG-07", "mug of default")]
    assert shop.execute("default", "SELECT count(*) FROM shop_order") == [(0,)]


def add_product(page: Page, shop: Shop, sku: str) -> None:
    page.go(f"{shop.url}/external-admin/shop/product/")
    page.follow(".object-tools .addlink")
    page.type("#id_sku", sku)
    page.type("#id_name", f"{sku} by hand")
    page.type("#id_price", "3.50")
    page.type("#id_stock-0-quantity", "7")
    page.follow("[name=_save]")
    assert "was added successfully" in page.text(".messagelist")


def test_add(page: Page, shop: Shop) -> None:
    add_product(page, shop, "ADD-1")
    listed = page.text("#result_list")
    assert "ADD-1 by hand" in listed
    assert "7 left" in listed
    assert "tea of external" in listed
    assert "mug of default" not in listed
    assert shop.execute(
        "external",
        "SELECT p.name, s.quantity FROM shop_product p JOIN shop_stock s ON s.product_id = p.id WHERE sku = 'ADD-1'",
    ) == [("ADD-1 by hand", 7)]
    assert shop.log_of("ADD-1") == [1]


def test_a_duplicate_key_is_an_error_of_the_form(page: Page, shop: Shop) -> None:
    page.go(f"{shop.url}/external-admin/shop/product/add/")
    page.type("#id_sku", "TEA-11")  # which 'default' has not
    page.type("#id_name", "twice")
    page.type("#id_price", "1")
    page.follow("[name=_save]")
    assert "Product with this SKU already exists." in page.text()
    assert shop.execute("external", "SELECT count(*) FROM shop_product WHERE sku = 'TEA-11'") == [(1,)]


def test_change(page: Page, shop: Shop) -> None:
    add_product(page, shop, "CHANGE-1")
    page.follow(f"a[href*='/product/{key(shop, 'CHANGE-1')}/']")
    page.type("#id_name", "CHANGE-1 changed")
    page.type("#id_stock-0-quantity", "8")
    page.follow("[name=_continue]")
    assert "was changed successfully" in page.text(".messagelist")
    assert page.evaluate("document.querySelector('#id_name').value") == "CHANGE-1 changed"
    assert shop.execute("external", "SELECT name FROM shop_product WHERE sku = 'CHANGE-1'") == [("CHANGE-1 changed",)]
    assert shop.log_of("CHANGE-1") == [1, 2]


def test_duplicate(page: Page, shop: Shop) -> None:
    add_product(page, shop, "ONCE-1")
    page.follow(f"a[href*='/product/{key(shop, 'ONCE-1')}/']")
    page.type("#id_sku", "ONCE-2")
    page.type("#id_name", "ONCE-2 copied")
    page.follow("[name=_saveasnew]")
    assert "was added successfully" in page.text(".messagelist")
    assert shop.execute(
        "external",
        "SELECT p.sku, s.quantity FROM shop_product p JOIN shop_stock s ON s.product_id = p.id "
        "WHERE sku LIKE 'ONCE-%' ORDER BY sku",
    ) == [("ONCE-1", 7), ("ONCE-2", 7)]


def test_autocomplete_and_delete_with_children(page: Page, shop: Shop) -> None:
    page.go(f"{shop.url}/external-admin/shop/order/add/")
    page.type("#id_customer", "Ada")
    page.click("#lines-0 .select2-selection")
    page.type(".select2-search__field", "external")
    choices = page.wait_for(
        "(() => { const found = [...document.querySelectorAll('.select2-results__option[aria-selected]')];"
        " return found.length === 2 && found.map(option => option.innerText); })()"
    )
    assert choices == ["mug of external", "tea of external"]
    page.click(".select2-results__option--highlighted")
    assert page.text("#lines-0 .select2-selection").strip() == "mug of external"
    page.type("#id_lines-0-quantity", "2")
    page.type("#id_lines-0-unit_price", "2.00")
    page.follow("[name=_save]")
    assert "was added successfully" in page.text(".messagelist")
    assert shop.execute("external", "SELECT product_id, quantity FROM shop_orderline") == [(1, 2)]

    page.follow("#result_list tbody th a")
    assert "mug of external" in page.text("#lines-0 .select2-selection")
    page.follow(".deletelink")
    assert "2 x mug of external" in page.text("#content")
    page.follow("#content [type=submit]")
    assert "was deleted successfully" in page.text(".messagelist")
    for table in ("shop_order", "shop_orderline"):
        assert shop.execute("external", f"SELECT count(*) FROM {table}") == [(0,)]
    assert shop.log_of("Ada") == [1, 3]


def test_history(page: Page, shop: Shop) -> None:
    add_product(page, shop, "OLD-1")
    page.go(f"{shop.url}/external-admin/shop/product/{key(shop, 'OLD-1')}/change/")
    page.type("#id_price", "4.00")
    page.follow("[name=_continue]")
    page.follow(".historylink")
    history = page.text("#change-history")
    assert re.search(r"Added\..*Changed Price\.", history, re.DOTALL)
    assert "grace" in history


def test_a_pop_up_adds_to_the_same_database(page: Page, shop: Shop, browser: Browser) -> None:
    page.go(f"{shop.url}/external-admin/shop/delivery/add/")
    window = browser.window_opened_by(lambda: page.click("#add_id_product"))
    window.type("#id_sku", "POP-1")
    window.type("#id_name", "POP-1 popped up")
    window.type("#id_price", "5")
    window.click("[name=_save]")
    page.wait_for("document.querySelector('#select2-id_product-container')?.innerText.includes('POP-1 popped up')")
    assert shop.execute("external", "SELECT name FROM shop_product WHERE sku = 'POP-1'") == [("POP-1 popped up",)]


def test_delete_selected(page: Page, shop: Shop) -> None:
    add_product(page, shop, "GONE-1")
    page.click(f"[name=_selected_action][value='{key(shop, 'GONE-1')}']")
    page.choose("[name=action]", "Delete selected products")
    page.follow("[name=index]")
    said = page.text("#content")
    assert "GONE-1 by hand" in said
    assert "7 left" in said
    page.follow("#content [type=submit]")
    assert "Successfully deleted 1 product." in page.text(".messagelist")
    assert shop.execute("external", "SELECT count(*) FROM shop_product WHERE sku = 'GONE-1'") == [(0,)]


def key(shop: Shop, sku: str) -> int:
    ((key,),) = shop.execute("external", "SELECT id FROM shop_product WHERE sku = ?", sku)
    return int(key)
