"""The application: ``toolkit dev examples/expense/main.py`` serves it."""

from __future__ import annotations

from examples.expense.approval import approve_expense
from toolkit import Toolkit

app = Toolkit(title="Expenses", description="Manager first, finance above a limit.").register_workflow(approve_expense)
