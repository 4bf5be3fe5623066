"""Placing an order: the one place where the shop writes more than one row."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from django.db import router, transaction
from django.db.models import F

from .instances import instance_name
from .models import Order, OrderLine, Product, Stock


class OutOfStock(Exception):
    """There are fewer of a product than were ordered."""

    def __init__(self, product: Product, wanted: int) -> None:
        super().__init__(f"Not enough of {product.name} left: {wanted} wanted.")


def place_order(customer: str, items: Mapping[str, int], number: uuid.UUID | None = None) -> Order:
    """Write an order for `items` (SKU to quantity) and take them from the stock, all or nothing.

    A repeat with the same `number` returns the order that is there and sells nothing twice.
    """
    if not items or min(items.values()) < 1:
        raise ValueError("An order has at least one line, and each line at least one item.")
    alias = router.db_for_write(Order)
    with transaction.atomic(using=alias):
        order, created = Order.objects.using(alias).get_or_create(
            number=number or uuid.uuid4(),
            defaults={"customer": customer, "written_by": instance_name(alias)},
        )
        if created:
            _add_lines(alias, order, items)
    return order


def _add_lines(alias: str, order: Order, items: Mapping[str, int]) -> None:
    # All take stock in the order of the keys: two orders may wait for each other but never deadlock.
    products = list(Product.objects.using(alias).filter(sku__in=items).order_by("pk"))
    unknown = items.keys() - {product.sku for product in products}
    if unknown:
        raise Product.DoesNotExist(f"No product has the SKU {', '.join(sorted(unknown))}.")
    for product in products:
        wanted = items[product.sku]
        enough = Stock.objects.using(alias).filter(product=product, quantity__gte=wanted)
        if not enough.update(quantity=F("quantity") - wanted):
            raise OutOfStock(product, wanted)
    OrderLine.objects.using(alias).bulk_create(
        OrderLine(order=order, product=product, quantity=items[product.sku], unit_price=product.price)
        for product in products
    )
