"""Fixtures for the whole suite. Real servers come from the lab's pytest plugin, started at first use only."""

import signal

# A shell that runs us in the background has SIGINT ignored, and what ignores it hands that on to its children; the
# tests send Ctrl-C to theirs.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["django_aurora_routing.lab.pytest_plugin"]
