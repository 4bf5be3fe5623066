"""Admin classes and an admin site that keep each of their pages on one database. Registers nothing by itself.

Django imports this module in every project that has contrib.admin; nothing else here imports it.
"""

from .options import MultiDBModelAdmin, MultiDBStackedInline, MultiDBTabularInline
from .sites import MultiDBAdminSite

__all__ = ["MultiDBAdminSite", "MultiDBModelAdmin", "MultiDBStackedInline", "MultiDBTabularInline"]
