from typing import Any

from django.core.management.base import BaseCommand

from testproject.shop.catalogue import fill_shelves


class Command(BaseCommand):
    help = "Put the shop's goods on its shelves."

    def handle(self, *args: Any, **options: Any) -> None:
        fill_shelves()
