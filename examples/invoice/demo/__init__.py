"""Shows the process at work: serves the application, sends the samples in by REST, and says what became of them."""
