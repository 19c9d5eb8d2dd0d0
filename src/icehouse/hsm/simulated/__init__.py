"""A software module for development and tests: `simulated:`."""
