# SPDX-License-Identifier: Apache-2.0
"""usage: serve_kills.py SEED COUNT, from serve_kills.sh

The agent and a writer are killed at any moment: while it restores, flushes, saves or does nothing;
then the memory is lost. What is restored is, byte for byte, one of two: the memory as it was when
the save under way began, if that save can have ended, or what was restored before (I1, I2, S1).

The writer is killed first. So from then on, and from the moment a save has stopped it, the memory
does not change, and what lies there then is what such a save saves.
"""
import os
import random
import shutil
import signal
import subprocess
import sys
import time

PERDURE = os.environ["PERDURE"]
WORDS = os.environ["TEST_PROGRAMS"] + "/programs/region_words"
REGIONS = os.environ["PERDURE_FOLDER"]
IMAGES = os.environ["IMAGES"]
NAME = "kept"
PAGES = 256


def fail(words, agent=None):
    print(f"FAILED: {words}", file=sys.stderr)
    if agent:
        print(open(agent.log).read(), file=sys.stderr)
        agent.kill()
    sys.exit(1)


class Agent:
    def __init__(self, number):
        self.log = f"{IMAGES}.log.{number % 4}"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [PERDURE, "serve", "--no-ups", "--folder", REGIONS, "--images", IMAGES,
                 "--dirty-max", "256K"], stderr=log, stdin=subprocess.DEVNULL)

    def says(self, words):
        return words in open(self.log).read()

    def wait_for(self, words):
        end = time.monotonic() + 20
        while not self.says(words):
            if self.process.poll() is not None or time.monotonic() > end:
                fail(f"the agent does not say \"{words}\"", self)
            time.sleep(0.001)

    def kill(self):
        self.process.kill()
        self.process.wait()


def memory():
    with open(f"{REGIONS}/{NAME}", "rb") as file:
        return file.read()


def lose():
    """All that was in memory."""
    shutil.rmtree(REGIONS)
    os.mkdir(REGIONS)


def make(agent):
    agent.wait_for("serving the regions")
    subprocess.run([PERDURE, "region", "--folder", REGIONS, "create", NAME, f"{PAGES * 4}K",
                    "--persist"], check=True)
    subprocess.run([WORDS, "fill", NAME, "1"], check=True, stdout=subprocess.DEVNULL)
    bytes_ = memory()
    subprocess.run([PERDURE, "save", "--folder", REGIONS], check=True, stdout=subprocess.DEVNULL)
    return bytes_


def write_a_while(dice):
    writer = subprocess.Popen([WORDS, "random", NAME, "1", str(PAGES)], stdout=subprocess.PIPE)
    if writer.stdout.readline() != b"ready\n":
        fail("the writer does not begin")
    time.sleep(dice.random() * 0.004)
    return writer


def one_life(number, dice, allowed):
    """One agent's: returns what the next one may restore, and whether there was a save."""
    agent = Agent(number)
    if dice.random() < 0.15:
        time.sleep(dice.random() * 0.02)
        agent.kill()
        lose()
        return allowed, "restore"
    agent.wait_for("is restored")
    now = memory()
    if now not in allowed:
        wrong = [page for page in range(PAGES)
                 if now[page * 4096:][:4096] != allowed[0][page * 4096:][:4096]]
        fail(f"life {number}: the memory is neither of {len(allowed)}: {len(wrong)} pages differ, "
             f"first {wrong[:8]}", agent)
    writer = write_a_while(dice)
    how = dice.choice(("power", "power", "power", "none"))
    if how == "power":
        agent.process.send_signal(signal.SIGPWR)
        time.sleep(dice.random() ** 2 * 0.012)
    writer.kill()
    writer.wait()
    writer.stdout.close()
    if dice.random() < 0.3:
        time.sleep(dice.random() * 0.01)
    agent.kill()
    ended = agent.says("saved 1 regions")
    # Not before: who has the file open while a save is made is stopped with all other strangers.
    last = memory()
    lose()
    if how == "none":
        return [now], how
    return ([last] if ended else [now, last]), "saved" if ended else "torn"


def main():
    seed, count = int(sys.argv[1]), int(sys.argv[2])
    print(f"kills, seed {seed}")
    dice = random.Random(seed)
    os.makedirs(IMAGES, exist_ok=True)
    agent = Agent(0)
    allowed = [make(agent)]
    agent.kill()
    lose()
    seen = {}
    for number in range(1, count + 1):
        allowed, how = one_life(number, dice, allowed)
        seen[how] = seen.get(how, 0) + 1
    print(f"{count} lives: {seen}")
    if count >= 100 and min(seen.get(how, 0) for how in ("restore", "none", "saved", "torn")) == 0:
        fail(f"a kind of end never came: {seen}")


main()
