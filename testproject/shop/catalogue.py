"""The goods the shop opens with."""

from __future__ import annotations

from decimal import Decimal

from .models import Product, Stock

GOODS = [
    ("LAMP-01", "Desk lamp", "39.00", 40),
    ("MUG-07", "Stoneware mug", "14.50", 120),
    ("PEN-03", "Fountain pen", "58.00", 25),
    ("TEA-11", "Green tea, 100 g", "9.80", 200),
]


def fill_shelves(using: str | None = None) -> None:
    """Write the goods to the database `using` (by default the one that the routers choose), once."""
    products = Product.objects.db_manager(using)
    stock = Stock.objects.db_manager(using)
    for sku, name, price, quantity in GOODS:
        product, _ = products.update_or_create(sku=sku, defaults={"name": name, "price": Decimal(price)})
        stock.get_or_create(product=product, defaults={"quantity": quantity})
