"""Settings of the test suite: the shop on SQLite. What needs real servers asks the lab's fixtures for them."""

from testproject.settings import *  # noqa: F403

DEBUG = False
DATABASES = {
    alias: {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    for alias in ("default", "reader", "external")
}
DATABASES["reader"]["TEST"] = {"MIRROR": "default"}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
