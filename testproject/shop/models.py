"""What the shop keeps: products, their stock, and orders. No rules beyond what the database can hold true."""

from __future__ import annotations

import uuid

from django.core.validators import MinValueValidator
from django.db import models


class Product(models.Model):
    sku = models.CharField("SKU", max_length=32, unique=True)
    name = models.CharField(max_length=120)
    price = models.DecimalField(max_digits=8, decimal_places=2, validators=[MinValueValidator(0)])

    class Meta:
        ordering = ["sku"]

    def __str__(self) -> str:
        return self.name


class Stock(models.Model):
    """How many of a product are left. Its own table, so that selling never locks the catalogue."""

    product = models.OneToOneField(Product, models.CASCADE, related_name="stock")
    quantity = models.PositiveIntegerField(default=0)

    class Meta:
        verbose_name_plural = "stock"

    def __str__(self) -> str:
        return f"{self.quantity} left"


class Order(models.Model):
    """An order, known by a number its customer chose before it was sent.

    Who does not know whether an order was written (the server died while it answered) asks for its number.
    """

    number = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    customer = models.CharField(max_length=120)
    placed_at = models.DateTimeField(auto_now_add=True)
    written_by = models.CharField("database instance that took the write", max_length=120, blank=True)

    class Meta:
        ordering = ["-placed_at", "-pk"]
        indexes = [models.Index(fields=["-placed_at"], name="shop_order_newest")]

    def __str__(self) -> str:
        return f"{self.customer}, {str(self.number)[:8]}"


class OrderLine(models.Model):
    order = models.ForeignKey(Order, models.CASCADE, related_name="lines")
    product = models.ForeignKey(Product, models.PROTECT, related_name="order_lines")
    quantity = models.PositiveIntegerField(validators=[MinValueValidator(1)])
    unit_price = models.DecimalField(max_digits=8, decimal_places=2)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["order", "product"], name="shop_one_line_a_product"),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} x {self.product}"


class Delivery(models.Model):
    """Goods that came in. One consignment may come in parts, so its reference is no unique key."""

    reference = models.UUIDField(db_index=True)
    product = models.ForeignKey(Product, models.PROTECT, related_name="deliveries")
    quantity = models.PositiveIntegerField(validators=[MinValueValidator(1)])
    recorded_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "deliveries"

    def __str__(self) -> str:
        return f"{self.quantity} x {self.product}"
