"""Ends real processes of the invoice application and counts what became of the money.

The short form runs with the tests; ``python -m tests.kills --kills 50 --database sqlite`` is the long one.
"""
