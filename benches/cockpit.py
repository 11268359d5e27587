"""What the cockpit costs: see cockpit.sh."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from screen import Late, Terminal

HERE = pathlib.Path(__file__).resolve().parent
ATTACHES = 20
KEYS = 200
IDLE_SECONDS = 30
# Lines a second. A verbose pg_restore prints some hundred; this is a runaway program.
FLOOD_RATE = 50_000
FLOOD_SECONDS = 60
NOTE = "the last thing that happened"
ASKS_NOTE = "What should the timeline say?"

CONFIG = """
environment = "bench"
[command.flood]
argv = ["{python}", "{flood}", "{rate}", "{seconds}"]
timeout = "5m"
"""

RUNBOOK = """
id = "bench"
title = "Bench"
[[phase]]
id = "noise"
title = "Make noise"
[[phase.step]]
id = "noise.flood"
title = "Flood the output"
why = "A key must be answered at once however much a program prints."
approval = "none"
action.run_command = { command = "command.flood" }
[[phase.step]]
id = "noise.again"
title = "Flood it again"
why = "Rows for the cursor to move over."
approval = "none"
needs = ["noise.flood"]
action.run_command = { command = "command.flood" }
"""


def rank(values, share):
    """The value that `share` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-len(ordered) * share // 100) - 1))]


class Table:
    """Figures, and the limits that some are held to. Times are held to theirs by the median."""

    def __init__(self):
        self.rows = []
        self.missed = False

    def add(self, what, values, unit, limit=None, judged=None):
        """Values are the columns; `judged` is held to the limit."""
        verdict = ""
        if limit is not None:
            held = judged <= limit
            self.missed |= not held
            verdict = f"{'ok' if held else 'OVER'}  (limit {limit:g} {unit})"
        self.rows.append((what, values, unit, verdict))

    def times(self, what, seconds, limit=None):
        ms = [s * 1000 for s in seconds]
        median = rank(ms, 50)
        self.add(what, f"median {median:.2f}  p95 {rank(ms, 95):.2f}  worst {max(ms):.2f}", "ms", limit, median)

    def fail(self, what, why):
        self.missed = True
        self.rows.append((what, "not measured", "", why))

    def print(self):
        widths = [max(len(row[column]) for row in self.rows) for column in range(3)]
        for what, values, unit, verdict in self.rows:
            print(f"{what:<{widths[0]}}  {values:>{widths[1]}} {unit:<{widths[2]}}  {verdict}".rstrip())


class Bench:
    def __init__(self, binary):
        self.binary = str(pathlib.Path(binary).resolve())
        self.table = Table()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="relight-bench-", dir="/tmp"))
        # The drill's servers run as another user when this is root; they look for their own folders below.
        self.folder.chmod(0o711)
        self.state = self.folder / "state"
        runtime = self.folder / "run"
        for folder in (self.state, runtime, self.folder / "config"):
            folder.mkdir(mode=0o700)
        self.environment = {
            **{name: value for name, value in os.environ.items() if name not in ("TMUX", "NO_COLOR", "RELIGHT_LOG")},
            "TERM": "xterm-256color",
            "LC_ALL": "C.UTF-8",
            "XDG_RUNTIME_DIR": str(runtime),
            "XDG_STATE_HOME": str(self.state),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
        }
        self.config = self.folder / "bench.toml"
        self.runbook = self.folder / "runbook.toml"
        script = shutil.copy(HERE / "flood.py", self.folder)
        python = sys.executable
        self.config.write_text(CONFIG.format(python=python, flood=script, rate=FLOOD_RATE, seconds=FLOOD_SECONDS))
        self.config.chmod(0o600)
        self.runbook.write_text(RUNBOOK)

    def open(self, *arguments):
        return Terminal([self.binary, *arguments], self.environment)

    def incidents(self):
        return {path.name for path in (self.state / "relight" / "incidents").glob("*")}

    def engine(self, incident):
        """The engine's process: the one whose arguments are `engine ID --state-dir <ours>`."""
        for pid, words in processes():
            if words[1:3] == ["engine", incident] and str(self.state) in " ".join(words):
                return pid
        raise Late(f"no engine of {incident} runs")

    def run(self):
        try:
            for part in (self.drill, self.flood):
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

    def drill(self):
        """The real runbook in its real world: ready, attach, keys and cost while nothing happens."""
        say("building a drill")
        terminal = self.open("drill")
        try:
            at = terminal.wait(lambda screen: "DRILL" in screen.line(0) and shows_steps(screen), "a cockpit", 180)
            self.table.add("drill: command to cockpit", f"{at - terminal.began:.1f}", "s", 30, at - terminal.began)
            (incident,) = self.incidents()
            # A note is the last event of the history, so a frame that shows it shows all of it.
            terminal.send("w")
            terminal.wait(lambda screen: ASKS_NOTE in screen.text(), "the note's prompt")
            terminal.send(NOTE + "\r")
            terminal.wait(full(incident), "the note in the timeline")
            say(f"attaching {ATTACHES} times")
        finally:
            terminal.close()
        self.attach(incident)
        terminal = self.open("attach", incident)
        try:
            terminal.wait(full(incident), "a full frame")
            say("typing")
            self.table.times(f"key to frame, idle ({KEYS})", keys(terminal), 5)
            say(f"doing nothing for {IDLE_SECONDS} s")
            engine = self.engine(incident)
            before = processor(terminal.pid), processor(engine), terminal.bytes, terminal.screen.frames
            terminal.look(IDLE_SECONDS)
            for what, pid, then in (("cockpit", terminal.pid, before[0]), ("engine", engine, before[1])):
                share = 100 * (processor(pid) - then) / IDLE_SECONDS
                self.table.add(f"{what}, idle", f"{share:.2f}", "% of a core", 0.5, share)
            frames = (terminal.screen.frames - before[3]) / IDLE_SECONDS
            rate = (terminal.bytes - before[2]) / IDLE_SECONDS
            self.table.add("idle, to the terminal", f"{rate:.0f} B/s in {frames:.1f}", "frames/s")
        finally:
            terminal.close()

    def attach(self, incident):
        first, times = [], []
        for _ in range(ATTACHES):
            terminal = self.open("attach", incident)
            try:
                times.append(terminal.wait(full(incident), "a full frame") - terminal.began)
                first.append(terminal.first - terminal.began)
            finally:
                terminal.close()
        self.table.times(f"attach to first byte ({ATTACHES})", first)
        self.table.times(f"attach to full frame ({ATTACHES})", times, 50)

    def flood(self):
        """An attempt that prints without end: keys meanwhile, and memory afterwards."""
        before = self.incidents()
        terminal = self.open("start", "--config", str(self.config), "--runbook", str(self.runbook))
        try:
            terminal.wait(lambda screen: "BENCH" in screen.line(0) and shows_steps(screen), "a cockpit")
            (incident,) = self.incidents() - before
            terminal.send("gj")
            terminal.wait(lambda screen: "Flood" in screen.line(cursor(screen) or 0), "the cursor on the first step")
            say(f"flooding with {FLOOD_RATE} lines a second")
            terminal.send("a")
            terminal.wait(lambda screen: "launching item" in screen.text(), "output of the attempt", 20)
            logs = self.state / "relight" / "incidents" / incident / "output"
            printed, began = size(logs), time.perf_counter()
            times = keys(terminal)
            rate = (size(logs) - printed) / (time.perf_counter() - began) / 1e6
            if rate <= 0:
                raise Late("nothing was printed while keys were measured")
            self.table.times(f"key to frame, flooded ({KEYS}; {rate:.1f} MB/s printed)", times, 5)
            say("flooding on, for the sizes")
            engine = self.engine(incident)
            terminal.look(20)
            for what, pid, limit in (("engine", engine, 64), ("cockpit", terminal.pid, 40)):
                now, most = memory(pid)
                self.table.add(f"memory of the {what}, flooded", f"{now:.1f}, at most {most:.1f}", "MiB", limit, most)
            self.table.add("printed by then", f"{size(logs) / 1e6:.0f}", "MB")
            terminal.send("x")
            terminal.wait(asks_to_stop, "the question whether to stop")
            terminal.send("y")
            terminal.wait(lambda screen: "stopped" in screen.text(), "the attempt's end", 30)
        finally:
            terminal.close()

    def end(self):
        """Ends what was started here, and nothing else."""
        say("")
        subprocess.run([self.binary, "drill", "--stop"], env=self.environment, stdout=subprocess.DEVNULL, check=False)
        ours = str(self.folder)
        for number in (signal.SIGTERM, signal.SIGKILL):
            until = time.perf_counter() + 10
            left = [pid for pid, words in processes() if ours in " ".join(words)]
            for pid in left:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    pass
            while left and time.perf_counter() < until:
                left = [pid for pid, words in processes() if ours in " ".join(words)]
                time.sleep(0.05)
        shutil.rmtree(self.folder, ignore_errors=True)


def say(words):
    if sys.stderr.isatty():
        print(f"\r\x1b[K{words}", end="", file=sys.stderr, flush=True)


def shows_steps(screen):
    return "Checklist" in screen.text() and cursor(screen) is not None


def asks_to_stop(screen):
    return "Stop" in screen.text() and " y " in screen.text()


def full(incident):
    def wanted(screen):
        # The words stand in the prompt as well while they are typed and until the engine has recorded them.
        text = screen.text()
        return incident in screen.line(0) and shows_steps(screen) and NOTE in text and ASKS_NOTE not in text

    return wanted


def cursor(screen):
    """The row that the checklist's cursor is on."""
    return next((row for row in range(1, screen.rows) if "›" in screen.line(row)[:4]), None)


def keys(terminal):
    """From the key to the last byte of the frame on which the cursor has moved."""
    times = []
    for number in range(KEYS):
        # Uneven gaps, so that keys meet the frames of the background at every point.
        terminal.look(0.003 + (number * 7 % 31) / 1000)
        was = cursor(terminal.screen)
        began = time.perf_counter()
        terminal.send("jk"[number % 2])
        times.append(terminal.wait(lambda screen: cursor(screen) not in (None, was), "a moved cursor", 10) - began)
    return times


def processes():
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        yield int(path.name), words


def processor(pid):
    """Seconds of processor time that a process has used, all of its threads."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid):
    """Resident memory of a process now, and at most so far, in MiB."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    values = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith(("VmRSS", "VmHWM"))}
    return int(values["VmRSS"]) / 1024, int(values["VmHWM"]) / 1024


def size(folder):
    return sum(path.stat().st_size for path in folder.glob("*.log"))


if __name__ == "__main__":
    sys.exit(Bench(sys.argv[1]).run())
