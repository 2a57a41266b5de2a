"""What the process keeps of its own: vendors, invoices and payments, in the same database as its runs."""

from __future__ import annotations

from examples.invoice.entities.tables import Invoice, InvoiceState, Payment, Vendor
from examples.invoice.entities.vendor_master import KnownVendor, find_vendor, vendor

__all__ = ["Invoice", "InvoiceState", "KnownVendor", "Payment", "Vendor", "find_vendor", "vendor"]
