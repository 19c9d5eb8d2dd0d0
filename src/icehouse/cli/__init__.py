"""The command line: words for people around the library."""

from icehouse.cli.main import main

__all__ = ["main"]
