#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# On a terminal: Ctrl-C reaches the program once, Ctrl-Z and fg act on the job as on any other, and
# `perdure top` leaves the terminal as it found it.
. "$(dirname "$0")/common.sh"

cat > "$WORK/program.py" <<'PY'
import signal, sys, time
signal.signal(signal.SIGINT, lambda *_: print("got INT", flush=True))
print("ready", flush=True)
for line in sys.stdin:
    print("heard", line.strip(), flush=True)
    if line.strip() == "end":
        sys.exit(9)
PY
cat > "$WORK/terminal.py" <<'PY'
import os, pty, select, sys, time
perdure, work = sys.argv[1:]

class Terminal:
    def __init__(self, *command):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvp(command[0], command)
        self.text = ""
    def type(self, text):
        os.write(self.fd, text.encode())
    def await_text(self, words, seconds=15):
        end = time.monotonic() + seconds
        while words not in self.text:
            ready, _, _ = select.select([self.fd], [], [], max(0, end - time.monotonic()))
            assert ready, f"no {words!r} in {self.text!r}"
            self.text += os.read(self.fd, 65536).decode(errors="replace")
        before, self.text = self.text.split(words, 1)
        return before
    def status(self):
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

one = Terminal(perdure, "run", "python3", work + "/program.py")
one.await_text("ready")
one.type("\x03")
one.await_text("got INT")
one.type("first\n")
assert "got INT" not in one.await_text("heard first"), "Ctrl-C came twice"
one.type("end\n")
assert one.status() == 9

shell = Terminal("bash", "--norc", "--noprofile", "-i")
shell.type("PS1=; stty -echo; echo be''gin\n")
shell.await_text("begin")
shell.type(f"{perdure} run python3 {work}/program.py\n")
shell.await_text("ready")
shell.type("\x1a")
shell.await_text("Stopped")
shell.type("fg\n")
shell.type("again\n")
shell.await_text("heard again")
shell.type("end\n")
shell.type("echo status $?\n")
shell.await_text("status 9")
shell.type(f"before=$(stty -g); {perdure} top; [ $before = $(stty -g) ] && echo sa''me\n")
shell.await_text("FAULTS/s")
shell.type("q")
shell.await_text("same")
shell.type("exit\n")
shell.status()
PY
timeout 50 python3 "$WORK/terminal.py" "$PERDURE" "$WORK" || fail "the terminal"
