#!/usr/bin/env python3
"""Types what the book's guides say into a terminal, word for word, and checks what comes of it.

The guides are "Creating a network", "Running a pool", "Joining a network" and "Running a validator", in this order on one machine: each
goes on with what the one before has made. The commands are read from the pages. What a reader fills in, such as a join string, is taken
from what the commands before have printed. Takes the folder with the programs; works in a temporary folder, as a new user would.
"""

import os
import pathlib
import pty
import re
import select
import signal
import sys
import tempfile
import threading
import time

BOOK = pathlib.Path(__file__).parent.parent / "src"
# Page, heading, and which of the code blocks below it are the guide.
GUIDES = [
    ("creating.md", "## On one machine", slice(None)),
    ("pool-owner.md", "## From a running network to the first payday", slice(None)),
    ("joining.md", "# Joining a network", slice(1, 3)),
    ("joining.md", "## Rotating the node key", slice(None)),
    ("validator.md", "## Becoming one, and ceasing to be", slice(0, 2)),
    ("validator.md", "## Another key", slice(None)),
]
BACKGROUND = re.compile(r"(in a terminal of its own|likewise)")
# What a command that goes on running prints when it is ready.
READY = re.compile(r"Full node API|: started|synced at block|INFO lucid_node::cli::signer: signing")
# What comes later than a command can be typed: it is typed again until this shows, for as long.
LATER = {
    "lucid --home v1 status": r"height +[1-9]",
    "lucid --home owner payout list": r" worker .* paid ",
    "lucid --home w2 node show": r"state +ready",
    "lucid --home v5 validator status": r"is +a validator .*\n(.*\n)*last vote +block",
}
PATIENCE_S = 90
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def blocks(page, heading):
    """The indented blocks below a heading, each a list of lines."""
    text = (BOOK / page).read_text()
    assert heading + "\n" in text, f"{page} has no {heading!r}"
    below = text.split(heading + "\n", 1)[1]
    level = heading.split(" ")[0]
    below = re.split(rf"^#{{1,{len(level)}}} ", below, maxsplit=1, flags=re.M)[0]
    return [[line[4:] for line in block.splitlines()] for block in re.findall(r"(?:^    .*\n)+", below, re.M)]


def commands(block):
    """A block's commands: lines that go on are joined, and so is a loop."""
    command = []
    for line in block:
        command.append(line)
        text = "\n".join(command)
        if line.endswith("\\") or (text.startswith("for ") and line != "done"):
            continue
        yield text
        command = []


def drain(fd):
    try:
        while os.read(fd, 65536):
            pass
    except OSError:
        pass


class Terminal:
    """Runs commands in one folder, with the variables of the commands before, and knows what was printed."""

    def __init__(self, folder, programs):
        self.folder, self.setting, self.known, self.running = folder, "", {}, []
        self.env = dict(os.environ, HOME=folder, PATH=f"{programs}:{os.environ['PATH']}", TERM="dumb", NO_COLOR="1")
        for name in [name for name in self.env if name.startswith("LUCID_")]:
            del self.env[name]

    def learn(self, text):
        for name, pattern in {
            "lucid1...": r"\b(lucid1[a-z0-9]{40,})",
            "SIGNER_ADDRESS": r"^signer address +(\S+)",
            "NODE_ID": r"^node id +(\S+)",
            "GAS_ADDRESS": r"gas address of its bridge is (\S+)",
            "ID": r"^proposal +(\S+)",
            "BLOCK_0": r"^Genesis block +(\S+)",
            "USDT": r"^USDT contract.*\s+(\S+)",
        }.items():
            found = re.findall(pattern, text, re.M)
            if found:
                self.known[name] = found[-1]

    def filled_in(self, command):
        """The command with what a reader puts in."""
        command = re.sub(r"^(\w+)=\.\.\.", lambda m: f"{m[1]}={self.known[m[1]]}", command)
        command = command.replace("lucid1...", self.known.get("lucid1...", "lucid1..."))
        return re.sub(
            r"(?<![\w$])(NODE_ID|SIGNER_ADDRESS|GAS_ADDRESS|ID)(?!\w)", lambda m: self.known[m[1]], command
        )

    def spawn(self, command):
        """In a terminal of its own: questions are asked only there."""
        child, fd = pty.fork()
        if child == 0:
            os.chdir(self.folder)
            os.execvpe("bash", ["bash", "-c", f"{self.setting}\n{command}"], self.env)
        return child, fd

    def read(self, fd, until, answer=None):
        """What is printed until the end, or until this stands in it."""
        out, end = "", time.monotonic() + PATIENCE_S
        while time.monotonic() < end and not (until and until.search(out)):
            if select.select([fd], [], [], 0.2)[0]:
                try:
                    got = os.read(fd, 65536).decode(errors="replace").replace("\r", "")
                except OSError:
                    return out, True
                out += COLOUR.sub("", got)
                if answer and out.rstrip().endswith("[y/N]"):
                    os.write(fd, answer)
        return out, False

    def once(self, command):
        child, fd = self.spawn(command)
        out, has_ended = self.read(fd, None, b"y\n")
        if not has_ended:
            os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        os.close(fd)
        self.learn(out)
        return out, has_ended and os.waitstatus_to_exitcode(status) == 0

    def type(self, command):
        """Types a command as a reader would, and shows what comes of it."""
        command = self.filled_in(command)
        plain = re.sub(r"\s+# .*", "", command)
        print(f"$ {command}", flush=True)
        if BACKGROUND.search(command):
            others = re.search(r"likewise, and ((?:\w+, )*\w+)", command)
            for name in [None, *(others[1].split(", ") if others else [])]:
                self.start(re.sub(r"--home \w+", f"--home {name}", plain) if name else plain)
            return
        if re.match(r"(\w+=|umask |export )", command):
            self.setting += plain + "\n"
        for attempt in [plain, plain.replace("--dry-run", "--yes")] if "--dry-run" in plain else [plain]:
            wanted, end = LATER.get(plain), time.monotonic() + PATIENCE_S
            while True:
                out, is_right = self.once(attempt)
                shows = wanted is None or re.search(wanted, out)
                if (is_right and shows) or wanted is None or time.monotonic() > end:
                    break
                time.sleep(0.5)
            print(out, end="" if out.endswith("\n") else "\n", flush=True)
            if not (is_right and shows):
                raise SystemExit(f"FAILED: {attempt}")

    def start(self, command):
        child, fd = self.spawn(command)
        self.running.append((child, fd))
        out, has_ended = self.read(fd, READY)
        print(out, end="" if out.endswith("\n") else "\n", flush=True)
        if has_ended or not READY.search(out):
            raise SystemExit(f"FAILED to start: {command}")
        self.learn(out)
        # Nobody reads the rest, and the command must not wait for that.
        threading.Thread(target=drain, args=(fd,), daemon=True).start()

    def stop(self):
        for child, _ in reversed(self.running):
            os.kill(child, signal.SIGTERM)
        for child, _ in self.running:
            os.waitpid(child, 0)


def main():
    programs = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="lucid-guides-") as folder:
        terminal = Terminal(folder, programs)
        try:
            for page, heading, which in GUIDES:
                print(f"\n== {page}: {heading.lstrip('# ')}", flush=True)
                found = blocks(page, heading)[which]
                assert found, f"{page}: there are no commands below {heading!r}"
                for command in [command for block in found for command in commands(block)]:
                    terminal.type(command)
        finally:
            terminal.stop()
    print("\nok: every command of the guides did what its page says")


main()
