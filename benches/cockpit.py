"""What the cockpit costs, each figure beside its peer in the same run: see cockpit.sh.

1. From a key to the last byte of the frame that answers it, 120x32: idle, beside `less` in tmux by a page; and under a flood of output
   with a download beside it.
2. From exec to a usable frame with the engine running, in turns with vim on a file.
3. A million lines from a program, from the key that begins it to its outcome on screen, beside `cat` of the same file to a
   pseudo-terminal that is read and not drawn; all lines must be on disk.
4. Bytes, and writes where strace is there: of moving the cursor by a row, of a whole 80x24 frame, of a second's tick.
5. What client and engine use while nothing happens, and keep after ten million lines.
6. The size of the program."""

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
KEYS = 500
TURNS = 4
IDLE_SECONDS = 60
# Lines a second. A verbose pg_restore prints some hundred; this is a runaway program.
FLOOD_RATE = 100_000
FLOOD_SECONDS = 120
MILLION = 1_000_000
MANY = 10_000_000
# A peer's frame is over when nothing has come for so long: it does not say where its frames end.
QUIET = 0.02
NOTE = "the last thing that happened"
ASKS_NOTE = "What should the timeline say?"

CONFIG = """
environment = "bench"
[command.flood]
argv = ["{python}", "{flood}", "{rate}", "{seconds}"]
timeout = "5m"
[command.fetch]
argv = ["{python}", "{fetch}", "{seconds}"]
timeout = "5m"
[command.million]
argv = ["/bin/cat", "{million}"]
timeout = "5m"
[command.many]
argv = ["/bin/sh", "-c", "yes 'finished item 3507 TABLE DATA' | head -n {many}"]
timeout = "9m"
"""

STEP = """
[[phase.step]]
id = "{id}"
title = "{title}"
why = "It is measured."
approval = "none"
action.run_command = {{ command = "command.{command}" }}
"""


def runbook(*steps):
    """The given steps, and one behind them that stays open, so that their phase does not fold."""
    head = 'id = "bench"\ntitle = "Bench"\n[[phase]]\nid = "noise"\ntitle = "Make noise"\n'
    last = STEP.replace('approval = "none"', 'approval = "confirm"').format(id="noise.last", title="Never done", command="fetch")
    return head + "".join(STEP.format(id=f"noise.{one}", title=title, command=one) for one, title in steps) + last


def rank(values, share):
    """The value that `share` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-len(ordered) * share // 100) - 1))]


def lines_of(log):
    """Lines of a log; none before there is one."""
    return log.read_bytes().count(b"\n") if log.exists() else 0


class Table:
    """Figures, and the limits that some are held to."""

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

    def quick(self, what, seconds, p50=None, p99=None, why=""):
        """Times of which the median and the slowest hundredth are held to limits, in ms."""
        ms = [s * 1000 for s in seconds]
        half, most = rank(ms, 50), rank(ms, 99)
        held = (p50 is None or half <= p50) and (p99 is None or most <= p99)
        self.missed |= not held
        limits = " ".join(f"{name} {limit:.3g}" for name, limit in (("p50", p50), ("p99", p99)) if limit is not None)
        verdict = f"{'ok' if held else 'OVER'}  (limit {limits} ms{why})" if limits else ""
        self.rows.append((what, f"p50 {half:.2f}  p99 {most:.2f}  worst {max(ms):.2f}", "ms", verdict))
        return half, most

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
        flood, fetch = (shutil.copy(HERE / name, self.folder) for name in ("flood.py", "fetch.py"))
        self.million = self.folder / "million.txt"
        words = {"python": sys.executable, "flood": flood, "fetch": fetch, "million": self.million, "many": MANY}
        self.config.write_text(CONFIG.format(rate=FLOOD_RATE, seconds=FLOOD_SECONDS, **words))
        self.config.chmod(0o600)
        self.runbook.write_text(runbook(("flood", "Flood the output"), ("fetch", "Download")))

    def peer(self, *argv, columns=120, rows=32):
        """Another program in the same kind of terminal."""
        return Terminal([shutil.which(argv[0]), *argv[1:]], self.environment, columns, rows)

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
            for part in (self.drill, self.flood, self.lines, self.many, self.size):
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
            ours, less = [], []
            # In turns, so that a busy moment of the machine meets both.
            for _ in range(TURNS):
                ours += keys(terminal)
                less += self.less(" ") or []
            if less:
                self.table.quick("key to frame, less in tmux, by a line", self.less("j"))
                _, most = self.table.quick("key to frame, less in tmux, by a page", less)
                self.table.quick(f"key to frame, idle ({len(ours)})", ours, 1, min(3, most / 2), ", half of less in tmux, by a page")
            else:
                self.table.quick(f"key to frame, idle ({len(ours)})", ours, 1, 3)
            self.sizes(terminal)
            say(f"doing nothing for {IDLE_SECONDS} s")
            engine = self.engine(incident)
            before = processor(terminal.pid), processor(engine), terminal.bytes, terminal.screen.frames
            terminal.look(IDLE_SECONDS)
            shares = [100 * (processor(pid) - then) / IDLE_SECONDS for pid, then in zip((terminal.pid, engine), before)]
            each = f"{sum(shares):.2f} (cockpit {shares[0]:.2f}, engine {shares[1]:.2f})"
            self.table.add(f"idle for {IDLE_SECONDS} s, attached", each, "% of a core", 0.1, sum(shares))
            frames = (terminal.screen.frames - before[3]) / IDLE_SECONDS
            rate = (terminal.bytes - before[2]) / IDLE_SECONDS
            self.table.add("idle, to the terminal", f"{rate:.0f} B/s in {frames:.1f}", "frames/s")
        finally:
            terminal.close()
        self.whole(incident)

    def less(self, key):
        """From a key to the last byte of what less then shows, in tmux."""
        if not shutil.which("tmux") or not shutil.which("less"):
            return None
        text = self.folder / "long.txt"
        text.write_text("".join(f"{number} of a text that is long enough to be scrolled\n" for number in range(100 * KEYS)))
        server = f"relight-bench-{os.getpid()}"
        terminal = self.peer("tmux", "-L", server, "-f", "/dev/null", "new", f"less {text}")
        try:
            terminal.wait_for_text("1 of a text")
            terminal.settle(0.3)
            times = []
            for number in range(KEYS):
                terminal.look(0.003 + (number * 7 % 31) / 1000)
                began = time.perf_counter()
                terminal.send(key)
                times.append(terminal.settle(QUIET) - began)
            return times
        finally:
            subprocess.run(["tmux", "-L", server, "kill-server"], check=False, capture_output=True)
            terminal.close()

    def sizes(self, terminal):
        """What goes to the terminal for a row and for a second that passes."""
        bytes_of = []
        for number in range(40):
            terminal.look(0.05)
            was, before = cursor(terminal.screen), terminal.bytes
            terminal.send("jk"[number % 2])
            terminal.wait(lambda screen: cursor(screen) not in (None, was), "a moved cursor", 10)
            bytes_of.append(terminal.bytes - before)
        median = rank(bytes_of, 50)
        self.table.add("cursor moves one row", f"{median}", "B", 200, median)
        ticks = []
        while len(ticks) < 5:
            before, frames = terminal.bytes, terminal.screen.frames
            terminal.wait(lambda screen: screen.frames > frames, "a tick", 10)
            ticks.append(terminal.bytes - before)
        self.table.add("a second passes", f"{rank(ticks, 50)}", "B", 300, rank(ticks, 50))
        strace = shutil.which("strace")
        if not strace:
            self.table.fail("frames that took more than one write", "strace is not there to count them")
            return
        log = self.folder / "writes"
        words = [strace, "-f", "-qq", "-s", "1000000", "-e", "trace=write,writev", "-o", str(log), "-p", str(terminal.pid)]
        tracer = subprocess.Popen(words, stderr=subprocess.DEVNULL)
        try:
            terminal.look(1)
            moved = 10
            for number in range(moved):
                was = cursor(terminal.screen)
                terminal.send("jk"[number % 2])
                terminal.wait(lambda screen: cursor(screen) not in (None, was), "a moved cursor", 10)
            frames = terminal.screen.frames
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.wait()
        writes = [line for line in log.read_text().splitlines() if "?2026h" in line or "?2026l" in line]
        cut = [line for line in writes if not ("?2026h" in line and "?2026l" in line)]
        self.table.add("frames that took more than one write", f"{len(cut)} of {len(writes)}, {frames} frames", "", 0, len(cut))

    def whole(self, incident):
        """A whole frame of 80x24, as a new terminal gets it."""
        terminal = Terminal([self.binary, "attach", incident], self.environment, 80, 24)
        try:
            terminal.wait(lambda screen: shows_steps(screen), "a full frame")
            terminal.look(0.5)
            before = terminal.bytes
            frames = terminal.screen.frames
            terminal.send("\x0c")
            terminal.wait(lambda screen: screen.frames > frames, "everything drawn again")
            sent = terminal.bytes - before
            self.table.add("a whole frame, 80x24", f"{sent}", "B", 4096, sent)
        finally:
            terminal.close()

    def attach(self, incident):
        first, times, vim = [], [], []
        text = self.folder / "vim.txt"
        text.write_text("".join(f"line {number}\n" for number in range(200)))
        for _ in range(ATTACHES):
            terminal = self.open("attach", incident)
            try:
                times.append(terminal.wait(full(incident), "a full frame") - terminal.began)
                first.append(terminal.first - terminal.began)
            finally:
                terminal.close()
            if shutil.which("vim"):
                terminal = self.peer("vim", "--clean", "-n", str(text))
                try:
                    vim.append(terminal.settle(0.1) - terminal.began)
                finally:
                    terminal.close()
        self.table.quick(f"attach to first byte ({ATTACHES})", first)
        if vim:
            half, _ = self.table.quick("exec to frame, vim", vim)
            self.table.quick("attach to full frame", times, min(20, 1.5 * half), None, ", 1.5 of vim")
        else:
            self.table.quick("attach to full frame", times, 20)

    def begin(self, *steps):
        """A cockpit on a new incident with these steps, the cursor on their phase; its terminal and its logs."""
        self.runbook.write_text(runbook(*steps))
        before = self.incidents()
        terminal = self.open("start", "--config", str(self.config), "--runbook", str(self.runbook))
        terminal.wait(lambda screen: "BENCH" in screen.line(0) and shows_steps(screen), "a cockpit")
        (incident,) = self.incidents() - before
        terminal.send("g")
        terminal.wait(lambda screen: "Make noise" in screen.line(cursor(screen) or 0), "the cursor on the phase")
        return terminal, incident, self.state / "relight" / "incidents" / incident / "output"

    def flood(self):
        """An attempt that prints without end beside one that downloads: keys meanwhile."""
        terminal, _, logs = self.begin(("flood", "Flood the output"), ("fetch", "Download"))
        try:
            say(f"flooding with {FLOOD_RATE} lines a second, and downloading")
            terminal.send("a")
            terminal.wait(lambda screen: "2 checks begin" in screen.text() or "downloaded" in screen.text(), "both steps", 20)
            flood, fetch = logs / "1.log", logs / "2.log"
            until = time.perf_counter() + 20
            while min(lines_of(flood), lines_of(fetch)) == 0 and time.perf_counter() < until:
                terminal.look(0.1)
            if b"downloaded" not in fetch.read_bytes():
                flood, fetch = fetch, flood
            printed, downloaded, began = lines_of(flood), lines_of(fetch), time.perf_counter()
            times = keys(terminal)
            rate = (lines_of(flood) - printed) / (time.perf_counter() - began)
            if lines_of(fetch) == downloaded:
                raise Late("nothing was downloaded while keys were measured")
            self.table.quick(f"key to frame, flooded ({KEYS}; {rate:,.0f} lines/s printed)", times, None, 10)
            late = 100 * (1 - rate / FLOOD_RATE)
            self.table.add(f"what lacks of {FLOOD_RATE:,} lines/s meanwhile", f"{max(late, 0):.1f}", "%", 2, late)
        finally:
            terminal.close()

    def lines(self):
        """A million lines, from the key to the outcome, beside cat."""
        line = "launching item %d TABLE DATA transactions of a table that has many rows in it\n"
        with self.million.open("w") as file:
            file.writelines(line % number for number in range(MILLION))
        cats, times = [], []
        for turn in range(3):
            say(f"a million lines, {turn + 1} of 3")
            terminal = self.peer("cat", str(self.million))
            try:
                cats.append(terminal.drain() - terminal.began)
            finally:
                terminal.close()
            terminal, _, logs = self.begin(("million", "A million lines"))
            try:
                began = time.perf_counter()
                terminal.send("a")
                ended = lambda screen: "ended" in screen.text() and "A million lines: " in screen.text()
                times.append(terminal.wait(ended, "the outcome", 300) - began)
                there = sum(1 for path in logs.glob("*.log") for text in path.open() if text.startswith("launching item"))
                if there != MILLION:
                    raise Late(f"of {MILLION} lines, {there} are on disk")
            finally:
                terminal.close()
        ours, cat = rank(times, 50), rank(cats, 50)
        self.table.add("1M lines, cat to the same kind of terminal", f"{cat:.2f}", "s")
        self.table.add("1M lines, all of them on disk", f"{ours:.2f}, {ours / cat:.2f} of cat", "s", 1.2 * cat, ours)

    def many(self):
        """Ten million lines: what client and engine keep of them."""
        terminal, incident, logs = self.begin(("many", "Ten million lines"))
        try:
            say("ten million lines")
            began = time.perf_counter()
            terminal.send("a")
            terminal.wait(lambda screen: "ended" in screen.text() and "Ten million lines: " in screen.text(), "the outcome", 500)
            self.table.add("10M lines", f"{time.perf_counter() - began:.1f} s, {size(logs) / 1e6:.0f} MB", "")
            for what, pid, limit in (("cockpit", terminal.pid, 40), ("engine", self.engine(incident), 64)):
                now, most = memory(pid)
                self.table.add(f"memory of the {what}, 10M lines", f"{now:.1f}, at most {most:.1f}", "MiB", limit, most)
        finally:
            terminal.close()

    def size(self):
        """The program without its symbols."""
        small = self.folder / "stripped"
        if shutil.which("strip"):
            subprocess.run(["strip", "-o", str(small), self.binary], check=True)
        else:
            small = pathlib.Path(self.binary)
        there = small.stat().st_size / (1 << 20)
        self.table.add("the program, stripped", f"{there:.1f}", "MiB", 32, there)

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
    """Seconds of processor time that the threads of a process have used. Counted by the scheduler: what the clock's ticks
    find at work is mostly what the clock itself has woken."""
    tasks = pathlib.Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def memory(pid):
    """Resident memory of a process now, and at most so far, in MiB."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    values = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith(("VmRSS", "VmHWM"))}
    return int(values["VmRSS"]) / 1024, int(values["VmHWM"]) / 1024


def size(folder):
    return sum(path.stat().st_size for path in folder.glob("*.log"))


if __name__ == "__main__":
    sys.exit(Bench(sys.argv[1]).run())
