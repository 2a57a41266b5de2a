"""The process: read, check, decide, ask a person where that is needed, pay."""

from __future__ import annotations

from examples.invoice.entities import InvoiceState, KnownVendor, find_vendor
from examples.invoice.files import Reading
from examples.invoice.findings import Finding, Severity
from examples.invoice.human import ReviewCase, ReviewDecision, ReviewedInvoice, ask_reviewer
from examples.invoice.invoice_data import InvoiceData, compact, name_key
from examples.invoice.rules import Action, PolicyDecision, PolicyInput, approval_policy, keep_for_person
from examples.invoice.workflows.documents import check_amounts, read_document
from examples.invoice.workflows.ledger import Claim, Registration, book_payment, close_invoice, register_invoice
from examples.invoice.workflows.outcome import EndState, Outcome
from toolkit.files import File
from toolkit.human import TaskResult
from toolkit.workflows import workflow


@workflow()
async def process_invoice(file: File) -> Outcome:
    """Takes an invoice from its file to its end: paid, credited or rejected, always with the reason."""
    reading = await read_document(file)
    if reading.fault is not None:
        return Outcome(state=EndState.REJECTED, action=Action.REJECT, reason_code=reading.fault, reason=reading.message)
    if reading.invoice is None:
        return await _ask_for_everything(file, reading)
    return await _process(file, reading.invoice, reading.findings)


async def _process(file: File, invoice: InvoiceData, found: tuple[Finding, ...]) -> Outcome:
    findings = (*found, *await check_amounts(invoice))
    vendor = await find_vendor(invoice.seller.name, invoice.seller.vat_id)
    registration = await register_invoice(_claim(invoice))
    facts = _facts(invoice, vendor, findings, registration)
    decision = keep_for_person(facts, await approval_policy(facts))
    if decision.action is Action.PAY and vendor is not None:
        return await _pay(_suggestion(invoice, vendor), registration, decision)
    if decision.action is Action.REJECT:
        return await _reject(_suggestion(invoice, vendor), registration, decision)
    case = ReviewCase(
        reason_code=decision.reason_code,
        reason=decision.reason,
        invoice=invoice,
        findings=findings,
        iban_on_file=vendor.iban if vendor else "",
    )
    return await _review(file, case, _suggestion(invoice, vendor), registration, decision)


async def _ask_for_everything(file: File, reading: Reading) -> Outcome:
    """A person types in what could not be read."""
    decision = PolicyDecision(action=Action.REVIEW, reason_code=f"unread_{reading.source}", reason=reading.message)
    case = ReviewCase(reason_code=decision.reason_code, reason=decision.reason)
    return await _review(file, case, None, None, decision)


async def _review(
    file: File,
    case: ReviewCase,
    suggested: ReviewedInvoice | None,
    registration: Registration | None,
    decision: PolicyDecision,
) -> Outcome:
    answer = await ask_reviewer(case, suggested=suggested, files=[file])
    while answer.output.approved and (missing := _missing(case, answer.output.invoice or suggested)):
        again = case.model_copy(update={"reason": f"Approved, but {missing}. Please add it, or reject. {case.reason}"})
        answer = await ask_reviewer(again, suggested=answer.output.invoice or suggested, files=[file])
    reviewed = answer.output.invoice or suggested
    if not answer.output.approved or reviewed is None:
        return await _reject(reviewed, registration, decision, answer)
    if registration is None or (suggested is not None and not _claim(reviewed).is_same_as(_claim(suggested))):
        registration = await register_invoice(_claim(reviewed))
    if registration.duplicate_of_run is not None:
        duplicate = PolicyDecision(
            action=Action.REJECT, reason_code="duplicate", reason="Approved, but it came in before and ends there."
        )
        return await _reject(reviewed, registration, duplicate, answer)
    if case.invoice is not None and case.invoice.is_credit_note:
        return await _credit(reviewed, registration, decision, answer)
    return await _pay(reviewed, registration, decision, answer)


async def _pay(
    invoice: ReviewedInvoice,
    registration: Registration,
    decision: PolicyDecision,
    answer: TaskResult[ReviewDecision] | None = None,
) -> Outcome:
    await book_payment(
        registration.invoice_id,
        payee=invoice.seller,
        iban=invoice.payee_iban,
        amount=invoice.amount_due,
        currency=invoice.currency,
        reason=decision.reason_code,
    )
    outcome = _outcome(EndState.PAID, invoice, decision, answer)
    return outcome.model_copy(update={"paid": invoice.amount_due})


async def _credit(
    invoice: ReviewedInvoice,
    registration: Registration,
    decision: PolicyDecision,
    answer: TaskResult[ReviewDecision],
) -> Outcome:
    await close_invoice(registration.invoice_id, state=InvoiceState.CREDITED, reason=decision.reason_code)
    return _outcome(EndState.CREDITED, invoice, decision, answer)


async def _reject(
    invoice: ReviewedInvoice | None,
    registration: Registration | None,
    decision: PolicyDecision,
    answer: TaskResult[ReviewDecision] | None = None,
) -> Outcome:
    if registration is not None and registration.duplicate_of_run is None:  # the other run's invoice goes its own way
        await close_invoice(registration.invoice_id, state=InvoiceState.REJECTED, reason=decision.reason_code)
    return _outcome(EndState.REJECTED, invoice, decision, answer)


def _facts(
    invoice: InvoiceData, vendor: KnownVendor | None, findings: tuple[Finding, ...], registration: Registration
) -> PolicyInput:
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    differences = sum(finding.rule == "PAGE-TEXT" for finding in errors)
    return PolicyInput(
        amount_due=invoice.amount_due,
        currency=invoice.currency,
        is_duplicate=registration.duplicate_of_run is not None,
        is_credit_note=invoice.is_credit_note,
        is_direct_debit=invoice.is_direct_debit,
        is_vendor_known=vendor is not None,
        is_agreed_currency=vendor is not None and vendor.currency == invoice.currency,
        has_other_bank_details=_has_other_bank_details(invoice, vendor),
        wrong_amounts=len(errors) - differences,
        page_differences=differences,
    )


def _has_other_bank_details(invoice: InvoiceData, vendor: KnownVendor | None) -> bool:
    """Does the invoice want the money elsewhere than the vendor master says: another account, or another payee?"""
    if vendor is None:
        return False
    other_account = bool(invoice.payee_iban) and compact(invoice.payee_iban) != vendor.iban
    other_payee = bool(invoice.payee) and name_key(invoice.payee) != name_key(vendor.name)
    return other_account or other_payee


def _suggestion(invoice: InvoiceData, vendor: KnownVendor | None) -> ReviewedInvoice:
    """What would be paid, to the account on file: an invoice cannot bring an account along."""
    return ReviewedInvoice(
        seller=invoice.seller.name,
        number=invoice.number,
        issue_date=invoice.issue_date,
        currency=invoice.currency,
        gross=invoice.gross,
        amount_due=invoice.amount_due,
        payee_iban=vendor.iban if vendor else "",
    )


def _claim(invoice: InvoiceData | ReviewedInvoice) -> Claim:
    return Claim(
        vendor=invoice.seller if isinstance(invoice, ReviewedInvoice) else invoice.seller.name,
        number=invoice.number,
        issue_date=invoice.issue_date,
        currency=invoice.currency,
        gross=invoice.gross,
        amount_due=invoice.amount_due,
    )


def _missing(case: ReviewCase, reviewed: ReviewedInvoice | None) -> str:
    """What an approval lacks before money can be sent, as part of a sentence; ``""`` when nothing does."""
    if reviewed is None:
        return "nothing is known of the invoice"
    if case.invoice is not None and case.invoice.is_credit_note:
        return ""
    if not reviewed.payee_iban:
        return "there is no account to pay to"
    if reviewed.amount_due <= 0:
        return "no amount is due"
    return ""


def _outcome(
    state: EndState,
    invoice: ReviewedInvoice | None,
    decision: PolicyDecision,
    answer: TaskResult[ReviewDecision] | None,
) -> Outcome:
    stated = {} if invoice is None else invoice.model_dump(include={"seller", "number", "currency", "gross"})
    return Outcome(
        state=state,
        action=decision.action,
        reason_code=decision.reason_code,
        reason=decision.reason,
        reviewed_by=(answer.completed_by or "") if answer else "",
        note=answer.output.note if answer else "",
        **stated,
    )
