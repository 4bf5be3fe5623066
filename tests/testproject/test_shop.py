"""The shop on SQLite: its rules, its page and its admin."""

from __future__ import annotations

import re
import uuid
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from django_aurora_routing import in_database
from testproject.shop.catalogue import fill_shelves
from testproject.shop.deliveries import receive
from testproject.shop.models import Order, Product, Stock
from testproject.shop.orders import OutOfStock, place_order

pytestmark = pytest.mark.django_db(databases=["default", "external"])


@pytest.fixture(autouse=True)
def goods(db: None) -> None:
    fill_shelves()


def left(sku: str) -> int:
    return Stock.objects.using("default").get(product__sku=sku).quantity


def test_an_order_takes_its_goods_from_the_stock() -> None:
    order = place_order("Ada", {"MUG-07": 2, "TEA-11": 1})
    assert order.written_by == "default"
    assert [(line.product.sku, line.quantity) for line in order.lines.order_by("product")] == [
        ("MUG-07", 2),
        ("TEA-11", 1),
    ]
    assert (left("MUG-07"), left("TEA-11")) == (118, 199)


def test_an_order_is_all_or_nothing() -> None:
    with pytest.raises(OutOfStock, match="Fountain pen"):
        place_order("Ada", {"MUG-07": 1, "PEN-03": 26})
    assert not Order.objects.using("default").exists()
    assert left("MUG-07") == 120


def test_the_same_number_is_the_same_order() -> None:
    number = uuid.uuid4()
    assert place_order("Ada", {"MUG-07": 1}, number) == place_order("Ada", {"MUG-07": 1}, number)
    assert left("MUG-07") == 119


@pytest.mark.parametrize("items", [{}, {"MUG-07": 0}, {"MUG-07": -1}])
def test_an_order_of_nothing_is_refused(items: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least"):
        place_order("Ada", items)


def test_an_unknown_product_is_named() -> None:
    with pytest.raises(Product.DoesNotExist, match="GOLD-1"):
        place_order("Ada", {"MUG-07": 1, "GOLD-1": 1})


def test_a_delivery_raises_the_stock() -> None:
    receive(Product.objects.get(sku="PEN-03"), 5, uuid.uuid4())
    assert left("PEN-03") == 30


def test_an_order_follows_its_block() -> None:
    with in_database("external", write=True):
        fill_shelves()
        assert place_order("Ada", {"MUG-07": 1}).written_by == "external"
    assert Order.objects.using("external").count() == 1
    assert not Order.objects.using("default").exists()


def test_the_page_sells_once_however_often_it_is_sent(client: Client) -> None:
    page = client.get("/").content.decode()
    assert "Stoneware mug" in page
    number = re.search(r'value="([0-9a-f-]{36})"', page)
    assert number is not None
    for _ in range(2):
        answer = client.post("/buy/", {"customer": "Ada", "sku": "MUG-07", "number": number[1]}, follow=True)
        assert "written by default" in answer.content.decode()
    assert left("MUG-07") == 119


@pytest.mark.parametrize("form", [{"sku": "GOLD-1", "number": str(uuid.uuid4())}, {"sku": "MUG-07", "number": "x"}, {}])
def test_a_form_filled_in_wrongly_is_no_crash(client: Client, form: dict[str, str]) -> None:
    answer = client.post("/buy/", form, follow=True)
    assert answer.status_code == 200
    assert 'class="note error"' in answer.content.decode()


def test_the_admin_lists_orders(client: Client) -> None:
    place_order("Ada", {"MUG-07": 1})
    client.force_login(User.objects.create_superuser("grace"))
    assert "Ada" in client.get("/admin/shop/order/").content.decode()


def test_no_migration_is_missing() -> None:
    said = StringIO()
    call_command("makemigrations", check_changes=True, dry_run=True, stdout=said, verbosity=1)
    assert "No changes" in said.getvalue()
