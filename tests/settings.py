"""Settings of the test suite: the shop on SQLite. Real servers come from the lab's fixtures."""

from testproject.settings import *  # noqa: F403

DEBUG = False
INSTALLED_APPS = [*INSTALLED_APPS, "tests.admin"]  # noqa: F405
DATABASES = {alias: {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"} for alias in ("default", "external")}
AURORA_ROUTING: dict[str, object] = {}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
