"""Fixtures for the whole suite. Real servers come from the lab's pytest plugin, started at first use only."""

pytest_plugins = ["django_aurora_routing.lab.pytest_plugin"]
