"""What the key services in a cloud share: deadlines, a client for each process, P-256 as they tell of it."""
