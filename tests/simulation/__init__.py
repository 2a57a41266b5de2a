"""The engine under simulation: whole histories on one event loop with virtual time, every one repeatable by its seed.

``python -m tests.simulation --seeds 2000`` runs many; ``--seed 17`` runs one and shows what happened in it.
"""
