"""The vendors we know. A new database starts with those of `vendors.yaml`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from examples.invoice.entities.tables import Vendor
from examples.invoice.invoice_data import compact, name_key
from toolkit.workflows import get_session, step

logger = logging.getLogger(__name__)

VENDORS = Path(__file__).with_name("vendors.yaml")


class KnownVendor(BaseModel):
    """A vendor of the master, as steps and the policy hand it around."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    id: str
    name: str
    vat_id: str
    iban: str
    currency: str


@step(display_name="Look the vendor up")
async def find_vendor(name: str, vat_id: str) -> KnownVendor | None:
    """The vendor of this name and VAT id.

    Both must agree: a known VAT id under another name is not a known vendor. Only where the invoice or the master has
    no VAT id does the name decide alone.
    """
    session = get_session()
    await _fill_when_empty(session)
    found = (await session.exec(select(Vendor).where(Vendor.name_key == name_key(name)))).one_or_none()
    if found is None or (vat_id and found.vat_id and compact(vat_id) != found.vat_id):
        return None
    return KnownVendor.model_validate(found)


def vendor(*, name: str, iban: str, currency: str, vat_id: str = "") -> Vendor:
    """A row of the master with its fields in the form in which they are compared."""
    return Vendor(
        name=name, name_key=name_key(name), vat_id=compact(vat_id), iban=compact(iban), currency=currency.upper()
    )


def shipped_vendors() -> list[Vendor]:
    """The rows of `vendors.yaml`."""
    import yaml

    entries: list[dict[str, Any]] = yaml.safe_load(VENDORS.read_text(encoding="utf-8"))
    return [vendor(**entry) for entry in entries]


async def _fill_when_empty(session: AsyncSession) -> None:
    if (await session.exec(select(col(Vendor.id)).limit(1))).first() is not None:
        return
    try:
        async with session.begin_nested():
            session.add_all(shipped_vendors())
    except IntegrityError:  # another run looked at the same time and was first; its rows are there now
        logger.info("The vendor master was filled by another run", extra={"event": "vendors.filled"})
