"""Every change of a key: load, check, act, write with the expected `rev`, answer."""
