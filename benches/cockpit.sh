#!/bin/sh
# Measures the cockpit through a real terminal and holds the figures to their limits:
#   benches/cockpit.sh target/release/relight
# Needs python3 (its standard library only) and what the drill needs; tmux, less and vim are the peers, strace counts writes.
# Takes about five minutes and 3 GB below /tmp, works in folders of its own and ends what it starts. Exit status: 0 every limit is held, 1 one is not or could not be measured, 2 usage.
set -eu

if [ $# -ne 1 ] || [ ! -x "$1" ]; then
    echo "usage: benches/cockpit.sh RELIGHT_BINARY" >&2
    exit 2
fi
command -v python3 >/dev/null || { echo "benches/cockpit.sh needs python3: apt-get install python3" >&2; exit 2; }
exec python3 -B "$(dirname "$0")/cockpit.py" "$1"
