"""Expense approval: a manager first, finance above a limit, and what happens when somebody is away or silent."""
