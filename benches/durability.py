"""What durability costs, and what outlives a terminal:
  benches/durability.py target/release/relight target/debug/examples/long_journal
Needs python3 (its standard library only), and tmux as the peer for attaching. Works in folders of its own and ends what
it starts. Exit status: 0 every limit is held, 1 one is not or could not be measured, 2 usage.

1. A journal of 100,000 events, written by the program's own writer in a drill's kinds and sizes: how long it takes to be
   read, proved (checksums, hash chain) and folded: `relight list`, which does that and prints a line, from exec to exit.
2. On that incident, through a real engine and a real terminal: from the key that approves a plan to the last byte of the
   frame that no longer shows its card. The card goes when the engine has answered, and the engine answers when the approval is
   on disk. Beside it: what one append with fdatasync costs on the same disk in the same minute.
3. From the start of the program to its first full frame, on a running engine, in turns with `tmux attach`.
4. Under a flood of output: how long a cockpit lives after its terminal closed or it was told to end, also when nobody
   read the terminal; what the flood takes and the engine grows while nobody reads, against nobody there."""

import json
import os
import pathlib
import select
import shutil
import signal
import statistics
import subprocess
import sys
import time

from cockpit import Bench, cursor, memory, processes, processor, rank, say, shows_steps
from screen import Late, Terminal

EVENTS = 100_000
REPLAYS = 15
APPROVALS = 300
ATTACHES = 40
ENDS = 10
# A verbose restore prints some hundred lines a second: this is as much as it prints in hours, and as many bytes as the shim,
# the engine and the disk take at their best.
FLOOD_LINES = 3_000_000
FLOODS = 3

CONFIG = """
environment = "bench"
[command.nothing]
argv = ["/bin/true"]
timeout = "1m"
[command.flood]
argv = ["/bin/sh", "-c", "yes 'launching item 3507 TABLE DATA transactions of a table that has many rows in it' | head -n {lines}"]
timeout = "10m"
"""

STEP = """
[[phase.step]]
id = "{id}"
title = "{title}"
why = "It is measured."
approval = "{approval}"
repeat = true
action.run_command = {{ command = "command.{command}" }}
"""


def runbook(*steps):
    head = 'id = "bench"\ntitle = "Bench"\n[[phase]]\nid = "ledger"\ntitle = "Ledger"\n'
    keys = ("id", "title", "approval", "command")
    # A phase whose steps are all done is folded, and its steps could not be begun again.
    steps = (*steps, ("ledger.last", "Never done", "confirm", "nothing"))
    return head + "".join(STEP.format(**dict(zip(keys, step))) for step in steps)

# What happened last on an incident that was just taken up, or was flooded.
LAST = ("relight took the incident up again", "Flood the output: flood")
# What the card of a plan says until the engine has answered.
CARD = ("approve this plan", "waiting for the engine")


class Durability(Bench):
    def __init__(self, binary, writer):
        super().__init__(binary)
        self.writer = str(pathlib.Path(writer).resolve())
        self.config.write_text(CONFIG.format(lines=FLOOD_LINES))

    def run(self):
        try:
            for part in (self.long, self.attach_beside_tmux, self.outlive):
                try:
                    part()
                except Late as error:
                    self.table.fail(part.__name__, str(error))
        finally:
            self.end()
        self.table.print()
        # Others at work on the machine show in every figure above.
        print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        return 1 if self.table.missed else 0

    def write(self, name, events, *steps):
        """An incident with a journal of so many events, in a state folder of its own; its folder."""
        self.runbook.write_text(runbook(*steps))
        state = self.folder / name
        state.mkdir(mode=0o700)
        words = [self.writer, state, self.config, self.runbook, str(events)]
        incident = subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()
        return state, state / "incidents" / incident

    def at(self, state, incident):
        return self.open("attach", incident.name, "--state-dir", str(state))

    def long(self):
        say(f"writing a journal of {EVENTS} events")
        state, incident = self.write("long", EVENTS, ("ledger.look", "Look at the ledger", "confirm", "nothing"))
        journal = incident / "journal.jsonl"
        times = [self.listing(state) for _ in range(REPLAYS)]
        what = f"replay of {EVENTS} events, {journal.stat().st_size / 1e6:.0f} MB ({REPLAYS})"
        self.table.add(what, spread(times), "ms", 150, rank(times, 50))
        terminal = self.at(state, incident)
        try:
            at = terminal.wait(whole, "a cockpit")
            select_step(terminal)
            self.table.add("  command to cockpit, engine to be started", f"{(at - terminal.began) * 1000:.0f}", "ms")
            before = count(journal, "approved")
            floor = appends(state, APPROVALS)
            say(f"approving {APPROVALS} times")
            times = []
            for _ in range(APPROVALS):
                # After an approval the cursor goes on to the next step.
                select_step(terminal)
                terminal.send("a")
                terminal.wait(lambda screen: "y approve this plan" in screen.text(), "a plan")
                # Keys that were typed before the plan was on screen never approve.
                terminal.look(0.03)
                began = time.perf_counter()
                terminal.send("y")
                gone = terminal.wait(lambda screen: not any(words in screen.text() for words in CARD), "the card's end")
                times.append((gone - began) * 1000)
                self.done(journal, terminal)
                # The journal is read by this bench before the cockpit has heard of it.
                terminal.wait(lambda screen: any("✓" in line and "the ledger" in line for line in screen.text().splitlines()),
                              "the step's end")
            approved = count(journal, "approved") - before
            if approved != APPROVALS:
                raise Late(f"{APPROVALS} approvals were given and {approved} are in the journal")
            self.table.add(f"approve to durable to visible, behind {EVENTS} events ({APPROVALS})", spread(times), "ms", 10,
                           rank(times, 99))
            self.table.add("  an append with fdatasync on this disk", spread(floor), "ms")
            self.table.add("  memory of the engine", f"{memory(self.engine(incident.name))[1]:.0f} at most", "MiB")
        finally:
            terminal.close()

    def listing(self, state):
        began = time.perf_counter()
        words = [self.binary, "list", "--json", "--state-dir", state]
        out = subprocess.run(words, check=True, capture_output=True, env=self.environment)
        took = (time.perf_counter() - began) * 1000
        if json.loads(out.stdout)[0].get("error"):
            raise Late(f"the journal cannot be read: {out.stdout}")
        return took

    def engine(self, incident):
        for pid, words in processes():
            if words[1:3] == ["engine", incident] and str(self.folder) in " ".join(words):
                return pid
        raise Late(f"no engine of {incident} runs")

    def attach_beside_tmux(self):
        say(f"attaching {ATTACHES} times")
        state, incident = self.write("short", 100, ("ledger.look", "Look at the ledger", "confirm", "nothing"))
        first = self.at(state, incident)
        first.wait(shows_steps, "a cockpit")
        first.close()
        tmux = shutil.which("tmux")
        server = ["-L", f"relight-bench-{os.getpid()}", "-f", "/dev/null"]
        if tmux:
            text = self.folder / "text"
            text.write_text("".join(f"{row:3} launching item 3507 TABLE DATA transactions of a table\n" for row in range(30)))
            # As a person's terminal has it, tmux keeps the screen of a program that goes on.
            command = f"cat {text}; echo the last line; exec sleep 600"
            subprocess.run([tmux, *server, "new-session", "-d", "-x", "120", "-y", "32", command], check=True,
                           env=self.environment)
        ours, theirs = [], []
        try:
            for _ in range(ATTACHES):
                terminal = self.at(state, incident)
                try:
                    ours.append((terminal.wait(whole, "a full frame") - terminal.began) * 1000)
                finally:
                    terminal.close()
                if tmux:
                    terminal = Terminal([tmux, *server, "attach"], self.environment)
                    try:
                        theirs.append((terminal.wait_for_text("the last line") - terminal.began) * 1000)
                    finally:
                        terminal.close()
        finally:
            if tmux:
                subprocess.run([tmux, *server, "kill-server"], check=False, env=self.environment)
        limit = max(50, 1.5 * rank(theirs, 95)) if theirs else 50
        self.table.add(f"attach to first full frame ({ATTACHES})", spread(ours), "ms", round(limit, 1), rank(ours, 95))
        self.table.add(f"  tmux attach ({ATTACHES})" if theirs else "  tmux is not here", spread(theirs), "ms")
        if theirs:
            self.table.add("  relight / tmux, p95", f"{rank(ours, 95) / rank(theirs, 95):.2f}", "")

    def outlive(self):
        state, incident = self.write("flood", 100, ("ledger.flood", "Flood the output", "none", "flood"))
        self.ends(state, incident)
        self.stalls(state, incident)
        engine = self.engine(incident.name)
        os.kill(engine, signal.SIGTERM)
        until = time.perf_counter() + 10
        while (left := [words for _, words in processes() if str(state) in " ".join(words)]) and time.perf_counter() < until:
            time.sleep(0.02)
        self.table.add("processes that are left in the end", f"{len(left)}", "", 0, len(left))

    def ends(self, state, incident):
        """How long a cockpit lives after its terminal closed, or it was told to end."""
        say("closing terminals under a flood")
        journal = incident / "journal.jsonl"
        for what, how, stalled in (
            ("terminal closed to the cockpit's end", None, False),
            ("SIGHUP to the cockpit's end", signal.SIGHUP, False),
            ("SIGTERM to the cockpit's end", signal.SIGTERM, False),
            ("terminal closed that nobody read", None, True),
            ("SIGHUP while nobody reads the terminal", signal.SIGHUP, True),
        ):
            times = []
            for _ in range(ENDS):
                terminal = self.at(state, incident)
                terminal.wait(whole, "a full frame")
                if tail_kinds(journal)[-1] != "approved":
                    select_step(terminal)
                    terminal.send("a")
                    terminal.wait(lambda screen: tail_kinds(journal)[-1] == "approved", "the flood's begin", 30)
                if stalled:
                    time.sleep(3)
                times.append(end_of(terminal, how) * 1000)
            self.table.add(f"{what} ({ENDS})", spread(times), "ms", 250, max(times))
        self.done(journal)

    def done(self, journal, terminal=None):
        until = time.perf_counter() + 300
        while tail_kinds(journal)[-1] != "finished":
            if time.perf_counter() > until:
                raise Late("the flood did not end")
            if terminal:
                terminal.look(0.01)
            else:
                time.sleep(0.05)

    def stalls(self, state, incident):
        """What a flood takes with nobody there, and with somebody who does not read: by the journal's own times."""
        journal = incident / "journal.jsonl"
        ways = ("nobody there", "a terminal that nobody reads", "a cockpit that is stopped")
        took = {way: [] for way in ways}
        grew = {way: [] for way in ways}
        spun = []
        for turn in range(FLOODS + 1):
            for way in ways:
                say(f"flooding with {FLOOD_LINES} lines, {way}")
                terminal = self.at(state, incident)
                try:
                    terminal.wait(whole, "a full frame")
                    engine = self.engine(incident.name)
                    select_step(terminal)
                    terminal.send("a")
                    terminal.wait(lambda screen: tail_kinds(journal)[-1] == "approved", "the flood's begin", 30)
                    terminal.look(0.2)
                    if way == ways[0]:
                        terminal.close()
                    if way == ways[2]:
                        os.kill(terminal.pid, signal.SIGSTOP)
                    before, since = memory(engine)[0], time.perf_counter()
                    used = processor(terminal.pid) if way == ways[1] else 0
                    # The peak is counted from here.
                    pathlib.Path(f"/proc/{engine}/clear_refs").write_text("5")
                    self.done(journal)
                    if way == ways[1]:
                        spun.append(100 * (processor(terminal.pid) - used) / (time.perf_counter() - since))
                    # The first turn warms up: the disk, the engine's memory.
                    if turn:
                        took[way].append(last_attempt(journal))
                        grew[way].append(memory(engine)[1] - before)
                finally:
                    if way == ways[2]:
                        os.kill(terminal.pid, signal.SIGCONT)
                    terminal.close()
                for log in (incident / "output").glob("*.log"):
                    log.unlink()
        alone = statistics.median(took[ways[0]])
        self.table.add(f"flood of {FLOOD_LINES} lines, nobody there ({FLOODS})", f"{alone:.2f}", "s")
        for way in ways[1:]:
            share = statistics.median(took[way]) / alone
            # A speed of at least 0.97.
            self.table.add(f"  with {way}, by that ({FLOODS})", f"{share:.3f}", "", round(1 / 0.97, 3), share)
            self.table.add("  what the engine grows by, at most", f"{max(grew[way]):.2f}", "MiB", 1, max(grew[way]))
        self.table.add("  what that cockpit uses", f"{max(spun):.1f}", "% of a core", 20, max(spun))


def spread(values):
    if not values:
        return ""
    return f"p50 {rank(values, 50):.2f}  p95 {rank(values, 95):.2f}  p99 {rank(values, 99):.2f}  worst {max(values):.2f}"


def whole(screen):
    """A frame with everything in it: the runbook's steps, and what happened last."""
    return shows_steps(screen) and any(last in screen.text() for last in LAST)


def select_step(terminal):
    """Puts the cursor on the only step."""
    terminal.send("gj")
    terminal.wait(lambda screen: "the ledger" in screen.line(cursor(screen) or 0)
                  or "the output" in screen.line(cursor(screen) or 0), "the cursor on the step")


def count(journal, kind):
    with open(journal, "rb") as file:
        return sum(f'"kind":"{kind}"'.encode() in line for line in file)


def tail(journal):
    """The last events."""
    with open(journal, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - 32768))
        lines = file.read().split(b"\n")[1:-1]
    return [json.loads(line) for line in lines]


def tail_kinds(journal):
    """Kinds of the last events that are of attempts."""
    return [event["kind"] for event in tail(journal) if event["kind"] in ("approved", "finished")]


def last_attempt(journal):
    """Seconds that the last attempt took, by the journal."""
    events = tail(journal)
    ended = next(event for event in reversed(events) if event["kind"] == "finished")
    if ended["outcome"] != "succeeded":
        raise Late(f"a flood ended badly: {ended}")
    begun = next(event for event in reversed(events)
                 if event["kind"] == "approved" and event["attempt"] == ended["attempt"])
    return seconds(ended["at"]) - seconds(begun["at"])


def seconds(at):
    """Of a time as the journal writes it, since midnight."""
    hours, minutes, rest = at.rstrip("Z").split("T")[1].split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(rest)


def appends(folder, times):
    """Milliseconds of appends of an approval's size, each made durable."""
    line, taken = b"x" * 1500, []
    with open(folder / "appends", "ab", buffering=0) as file:
        for _ in range(times):
            began = time.perf_counter()
            file.write(line)
            os.fdatasync(file.fileno())
            taken.append((time.perf_counter() - began) * 1000)
    return taken


def end_of(terminal, how):
    """Seconds from what ends it to the cockpit's end."""
    began = time.perf_counter()
    if how is None:
        os.close(terminal.fd)
        terminal.fd = None
    else:
        os.kill(terminal.pid, how)
    handle = os.pidfd_open(terminal.pid)
    import select

    ended = select.select([handle], [], [], 10)[0]
    took = time.perf_counter() - began
    os.close(handle)
    if not ended:
        os.kill(terminal.pid, signal.SIGKILL)
    os.waitpid(terminal.pid, 0)
    if terminal.fd is not None:
        os.close(terminal.fd)
        terminal.fd = None
    return took


if __name__ == "__main__":
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    sys.exit(Durability(sys.argv[1], sys.argv[2]).run())
