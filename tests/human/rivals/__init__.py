"""Fifty people answer every task at once, in several processes that are killed meanwhile; one answer each may win.

The short form runs with the tests; ``python -m tests.human.rivals --tasks 1000 --database sqlite`` is the long one.
"""
