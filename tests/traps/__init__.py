"""What others fell into, each as a test named after it; the table in docs/reliability.md names those that are elsewhere."""
