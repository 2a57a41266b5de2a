"""An accounts-payable process: invoices come in, are read, checked, decided, reviewed and paid."""
