"""How much each workload does. The peer gets less where it would take minutes; what is compared is a rate or a time."""

from __future__ import annotations

STEPS = 5
THROUGHPUT_RUNS = 1_000
LATENCY_RUNS = 200
WAKEUPS, PEER_WAKEUPS = 200, 30
WAITING_RUNS, PEER_WAITING_RUNS = 10_000, 1_000
LONG_STEPS = 2_000
LONG_WAIT_STEPS, PEER_LONG_WAIT_STEPS = 2_000, 400
STEPS_A_WAIT = 10
CHILDREN = 1_000
CLAIM_ROWS = 1_000_000
WORKERS_RUNS = 4_000
