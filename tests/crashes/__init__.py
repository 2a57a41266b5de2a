"""Crashes before and after every commit of three reference workflows.

``python -m tests.crashes`` plays them all on SQLite, and on PostgreSQL with ``--server URL``, and prints the figures.
"""
