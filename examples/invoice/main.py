"""The application: ``toolkit dev examples/invoice/main.py`` serves it."""

from __future__ import annotations

from examples.invoice.agents import make_offline_model
from examples.invoice.entities import Invoice, Payment, Vendor
from examples.invoice.workflows import process_invoice
from toolkit import Toolkit

app = (
    Toolkit(title="Invoices", description="Accounts payable: from the file a seller sends to the payment.")
    .register_workflow(process_invoice)  # its agent, rule and human tasks come along
    .register_entity(Vendor)
    .register_entity(Invoice, is_read_only=True)  # the process alone writes these
    .register_entity(Payment, is_read_only=True)
    .register_model_factory("offline", make_offline_model)
)
