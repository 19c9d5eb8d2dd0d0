"""Comparisons with the peers of `PEERS.md`, measured in the same run: `python -m bench`."""
