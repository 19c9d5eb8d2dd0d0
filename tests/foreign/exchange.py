"""The contract of `icehouse exchange`: one message a line from standard input, one answer a line on standard output."""

import sys

from icehouse import FrostService

with FrostService.open(sys.argv[1]) as service:
    for line in sys.stdin:
        sys.stdout.write(service.exchange(line.rstrip("\n")) + "\n")
        sys.stdout.flush()
