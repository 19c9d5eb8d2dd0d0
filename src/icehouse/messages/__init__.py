"""What devices ask: one module for each message, and the order in which messages are refused."""
