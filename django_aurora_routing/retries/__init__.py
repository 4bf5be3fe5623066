"""Runs again what a failover has rolled back: functions in a transaction of their own, and requests."""
