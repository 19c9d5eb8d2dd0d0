"""Files as every part of icehouse treats them: written whole and durably, locked by one name, private."""
