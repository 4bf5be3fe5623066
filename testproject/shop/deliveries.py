"""Goods coming in."""

from __future__ import annotations

import uuid

from django.db import router, transaction
from django.db.models import F

from .models import Delivery, Product, Stock


def receive(product: Product, quantity: int, reference: uuid.UUID) -> Delivery:
    """Write a delivery and put its goods into the stock, both or neither."""
    alias = router.db_for_write(Delivery)
    with transaction.atomic(using=alias):
        delivery = Delivery.objects.using(alias).create(product=product, quantity=quantity, reference=reference)
        Stock.objects.using(alias).filter(product_id=product.pk).update(quantity=F("quantity") + quantity)
    return delivery
