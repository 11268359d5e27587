"""A terminal of our own: a pseudo-terminal with a program in it, and the screen that the program draws."""

import codecs
import fcntl
import os
import re
import select
import signal
import struct
import termios
import time
import unicodedata

# The cockpit wraps each frame in a synchronized update; the frame is on screen when its end has arrived.
FRAME_END = "?2026l"
SEQUENCE = re.compile(r"\x1b(?:\[([0-?]*)[ -/]*([@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][0-9A-Za-z]|[=>78cDEHM])")
# The begin of a sequence that has not arrived whole.
OPEN = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]*\x1b?|[()])?\Z")


class Screen:
    """The cells of a screen, as far as a full-screen program with absolute cursor moves needs them."""

    def __init__(self, columns, rows):
        self.columns, self.rows = columns, rows
        self.cells = [[" "] * columns for _ in range(rows)]
        self.row = self.column = 0
        self.frames = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def feed(self, data):
        """Takes bytes, and yields at each end of a frame in them."""
        text = self._rest + self._decoder.decode(data)
        self._rest = ""
        at = 0
        while at < len(text):
            if text[at] != "\x1b":
                end = text.find("\x1b", at)
                end = len(text) if end < 0 else end
                self._put(text[at:end])
                at = end
                continue
            found = SEQUENCE.match(text, at)
            if found is None:
                if OPEN.match(text, at):
                    self._rest = text[at:]
                    return
                at += 1
                continue
            at = found.end()
            parameters, final = found.group(1), found.group(2)
            if final is None:
                continue
            if parameters + final == FRAME_END:
                self.frames += 1
                yield self
            else:
                self._control(parameters, final)

    def _control(self, parameters, final):
        numbers = [int(n) if n.isdigit() else 0 for n in parameters.split(";")]
        first = numbers[0]
        if final in "Hf":
            self.row = min(max(first, 1), self.rows) - 1
            self.column = min(max(numbers[1] if len(numbers) > 1 else 1, 1), self.columns) - 1
        elif final == "G":
            self.column = min(max(first, 1), self.columns) - 1
        elif final == "A":
            self.row = max(self.row - max(first, 1), 0)
        elif final == "B":
            self.row = min(self.row + max(first, 1), self.rows - 1)
        elif final == "C":
            self.column = min(self.column + max(first, 1), self.columns - 1)
        elif final == "D":
            self.column = max(self.column - max(first, 1), 0)
        elif final == "J" and first == 2:
            self.cells = [[" "] * self.columns for _ in range(self.rows)]
        elif final == "J" and first == 0:
            self._erase_line()
            for row in range(self.row + 1, self.rows):
                self.cells[row] = [" "] * self.columns
        elif final == "K" and first == 0:
            self._erase_line()

    def _erase_line(self):
        line = self.cells[self.row]
        line[self.column :] = [" "] * (self.columns - self.column)

    def _put(self, text):
        for c in text:
            if c == "\r":
                self.column = 0
            elif c == "\n":
                self.row = min(self.row + 1, self.rows - 1)
            elif c >= " ":
                if self.column < self.columns:
                    self.cells[self.row][self.column] = c
                self.column += 2 if unicodedata.east_asian_width(c) in "WF" else 1

    def line(self, row):
        return "".join(self.cells[row])

    def text(self):
        return "\n".join(self.line(row).rstrip() for row in range(self.rows))


class Late(Exception):
    """What was waited for did not appear."""


class Terminal:
    """A program in a pseudo-terminal."""

    def __init__(self, argv, environment, columns=120, rows=32):
        self.screen = Screen(columns, rows)
        self.bytes = 0
        self.first = None
        self.began = time.perf_counter()
        self.name = " ".join(argv[1:3])
        ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(ours)
                os.setsid()
                fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
                for fd in (0, 1, 2):
                    os.dup2(theirs, fd)
                if theirs > 2:
                    os.close(theirs)
                os.execve(argv[0], argv, environment)
            finally:
                os._exit(127)
        os.close(theirs)
        self.fd = ours
        self.ended = False

    def send(self, text):
        os.write(self.fd, text.encode())

    def _read(self, until):
        """One read, or none before `until`; the time right after it."""
        left = until - time.perf_counter()
        if left <= 0 or self.ended or not select.select([self.fd], [], [], left)[0]:
            return b"", time.perf_counter()
        try:
            data = os.read(self.fd, 1 << 16)
        except OSError:  # the other end was closed
            data = b""
        self.ended = not data
        at = time.perf_counter()
        self.bytes += len(data)
        self.first = self.first or at
        return data, at

    def wait(self, wanted, what, seconds=60):
        """Reads until a frame has ended on which `wanted(screen)` holds; the moment its last byte was there."""
        until = time.perf_counter() + seconds
        while True:
            data, at = self._read(until)
            seen = False
            for screen in self.screen.feed(data):
                seen = seen or wanted(screen)
            if seen:
                return at
            if self.ended or at >= until:
                why = "the program ended" if self.ended else f"{seconds} s passed"
                raise Late(f"`relight {self.name}`: {why} without {what}. The screen:\n{self.screen.text()}")

    def wait_for_text(self, text, seconds=60):
        """As `wait`, for a program that does not say where its frames end."""
        until = time.perf_counter() + seconds
        while True:
            data, at = self._read(until)
            for _ in self.screen.feed(data):
                pass
            if text in self.screen.text():
                return at
            if self.ended or at >= until:
                raise Late(f"`{self.name}`: no {text}. The screen:\n{self.screen.text()}")

    def settle(self, quiet, seconds=10):
        """Reads until nothing more has come for `quiet` seconds; the moment of the last byte. For programs that do not say
        where their frames end."""
        until = time.perf_counter() + seconds
        last = None
        while True:
            data, at = self._read(min(until, time.perf_counter() + (quiet if last else seconds)))
            if data:
                for _ in self.screen.feed(data):
                    pass
                last = at
            elif last:
                return last
            if self.ended or at >= until:
                raise Late(f"`{self.name}`: it does not come to rest. The screen:\n{self.screen.text()}")

    def drain(self, seconds=600):
        """Reads everything up to the program's end, and draws nothing of it; the moment of the end."""
        until = time.perf_counter() + seconds
        while not self.ended:
            _, at = self._read(until)
            if at >= until:
                raise Late(f"`{self.name}`: it does not end")
        return time.perf_counter()

    def look(self, seconds):
        """Reads whatever comes in this time."""
        until = time.perf_counter() + seconds
        while time.perf_counter() < until and not self.ended:
            for _ in self.screen.feed(self._read(until)[0]):
                pass

    def close(self):
        """Hangs up, as a lost connection does, and waits for the program's end."""
        if self.fd is None:
            return
        os.close(self.fd)
        self.fd = None
        until = time.perf_counter() + 10
        while os.waitpid(self.pid, os.WNOHANG)[0] == 0:
            if time.perf_counter() > until:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                return
            time.sleep(0.005)
