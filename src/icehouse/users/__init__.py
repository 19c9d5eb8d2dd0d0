"""What the application asks about its users: make keys, mint codes, mark rotations due, suspend, destroy, verify."""
