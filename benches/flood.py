"""Prints like a verbose pg_restore, much faster: RATE lines a second, evenly, for at most SECONDS."""

import sys
import time

LINE = b"launching item %d TABLE DATA transactions of a table that has many rows in it\n"

rate, seconds = int(sys.argv[1]), float(sys.argv[2])
began = time.perf_counter()
number = 0
out = sys.stdout.buffer
while (passed := time.perf_counter() - began) < seconds:
    due = int(passed * rate)
    lines = [LINE % n for n in range(number, due)]
    number = max(number, due)
    try:
        out.write(b"".join(lines))
        out.flush()
    except BrokenPipeError:
        break
    time.sleep(0.005)
