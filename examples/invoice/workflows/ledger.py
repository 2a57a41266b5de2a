"""Steps that write: an invoice is registered once, ends once, and is paid once.

Each writes through ``get_session()``, so what it wrote and the fact that it ran are committed together or not at all.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from pydantic import BaseModel, ConfigDict
from sqlalchemy.exc import IntegrityError
from sqlmodel import select

from examples.invoice.arithmetic import to_cent
from examples.invoice.entities import Invoice, InvoiceState, Payment
from examples.invoice.invoice_data import name_key
from toolkit.errors import FatalError
from toolkit.workflows import current_run, get_session, step


class Claim(BaseModel):
    """What an invoice says it is; vendor, number and total make it the same as another."""

    model_config = ConfigDict(frozen=True)

    vendor: str
    number: str
    issue_date: date | None
    currency: str
    gross: Decimal
    amount_due: Decimal

    def is_same_as(self, other: Claim) -> bool:
        """Would one be a duplicate of the other?"""
        return self._identity == other._identity

    @property
    def _identity(self) -> tuple[str, str, Decimal]:
        return name_key(self.vendor), self.number, self.gross


class Registration(BaseModel):
    """The invoice's row, and the run that brought the same invoice earlier, if one did."""

    model_config = ConfigDict(frozen=True)

    invoice_id: str
    duplicate_of_run: str | None = None


@step(display_name="Look for a duplicate")
async def register_invoice(claim: Claim) -> Registration:
    """Registers the invoice, unless another run has registered the same one: the first comes first."""
    session, run_id = get_session(), _run_id()
    row = Invoice(
        run_id=run_id,
        vendor_key=name_key(claim.vendor),
        number=claim.number,
        issue_date=claim.issue_date,
        currency=claim.currency,
        gross=to_cent(claim.gross),
        amount_due=to_cent(claim.amount_due),
    )
    try:
        # Inserting decides, not looking first: of two runs that insert at the same time the constraint lets one pass.
        async with session.begin_nested():
            session.add(row)
    except IntegrityError:
        same = select(Invoice).where(
            Invoice.vendor_key == row.vendor_key, Invoice.number == row.number, Invoice.gross == row.gross
        )
        first = (await session.exec(same)).one()
        return Registration(invoice_id=first.id, duplicate_of_run=None if first.run_id == run_id else first.run_id)
    return Registration(invoice_id=row.id)


@step(display_name="Close the invoice")
async def close_invoice(invoice_id: str, *, state: InvoiceState, reason: str) -> None:
    """Ends an invoice without a payment."""
    session = get_session()
    session.add(await _closed(invoice_id, state=state, reason=reason))


@step(display_name="Book the payment")
async def book_payment(invoice_id: str, *, payee: str, iban: str, amount: Decimal, currency: str, reason: str) -> str:
    """Pays the invoice: one row, whose id is returned."""
    session = get_session()
    session.add(await _closed(invoice_id, state=InvoiceState.PAID, reason=reason))
    payment = Payment(
        run_id=_run_id(), invoice_id=invoice_id, payee=payee, iban=iban, amount=to_cent(amount), currency=currency
    )
    session.add(payment)
    return payment.id


async def _closed(invoice_id: str, *, state: InvoiceState, reason: str) -> Invoice:
    found = await get_session().get(Invoice, invoice_id)
    if found is None:
        raise FatalError(f"there is no invoice {invoice_id!r}, although this run registered it")
    found.state, found.reason = state.value, reason
    return found


def _run_id() -> str:
    run = current_run()
    if run is None:
        raise FatalError("an invoice is registered and paid by a run; call process_invoice instead")
    return run.run_id
