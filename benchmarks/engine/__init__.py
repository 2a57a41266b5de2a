"""How fast the engine is, side by side with DBOS on the same machine in the same run: ``python -m benchmarks.engine``.

Each measurement runs in a process of its own on a new database; the method is in ``docs/performance.md``.
"""
