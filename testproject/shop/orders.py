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
        super().__init__(f"Not enough of {product.name}: {wanted} wanted, {product.stock.quantity} left.")


def place_order(customer: str, items: Mapping[str, int], number: uuid.UUID | None = None) -> Order:
    """Write an order for `items` (SKU to quantity) and take them from the stock, all or nothing.

    A repeat with the same `number` returns the order that is there and sells nothing twice.
    """
    if not items or min(items.values()) < 1:
        raise ValueError("An order has at least one line, and each line at least one item.")
    alias = router.db_for_write(Order)
    number = number or uuid.uuid4()
    with transaction.atomic(using=alias):
        order, created = Order.objects.using(alias).get_or_create(
            number=number, defaults={"customer": customer, "written_by": instance_name(alias)}
        )
        if not created:
            return order
        products = Product.objects.using(alias).filter(sku__in=items).order_by("pk")
        # The stock rows are locked in one order by everybody, so two orders wait for each other but never deadlock.
        stock = {
            row.product_id: row
            for row in Stock.objects.using(alias)
            .select_for_update()
            .filter(product__sku__in=items)
            .order_by("product_id")
        }
        lines = []
        for product in products:
            wanted = items[product.sku]
            product.stock = stock[product.pk]
            if product.stock.quantity < wanted:
                raise OutOfStock(product, wanted)
            Stock.objects.using(alias).filter(product=product).update(quantity=F("quantity") - wanted)
            lines.append(OrderLine(order=order, product=product, quantity=wanted, unit_price=product.price))
        if len(lines) != len(items):
            unknown = sorted(set(items) - {line.product.sku for line in lines})
            raise Product.DoesNotExist(f"No product has the SKU {', '.join(unknown)}.")
        OrderLine.objects.using(alias).bulk_create(lines)
    return order
