# SPDX-License-Identifier: Apache-2.0
"""Persistent regions: a store that is safe, saves, a restore, what tracking costs, the bound.

Each row has an agent of its own (agent.py); figures that are compared are taken in turn.
"""

import contextlib
import json
import statistics
import subprocess
import time

import agent as agents
import persist_chart
from agent import Agent, Ups, WriteLimit
from paging import Failed, last_line, run_program
from swap import Skip

PREFIX = "regions "  # of the rows' names
STORE, FLUSH, NO_FLUSH, SYNC = (PREFIX + name for name in (
    "store", "store, libpmem", "store, libpmem without flush", "store, fdatasync"))
SAVE, SCATTERED = PREFIX + "save", PREFIX + "save, scattered pages"
RESTORE, BOUND = PREFIX + "restore", PREFIX + "bound"
RANDOM, SEQUENCE = PREFIX + "writer, random", PREFIX + "writer, sequence"

REGION = "bench"
WRITER_CPU = "0"
ARM_SECONDS_MAX = 30
STEP_SCATTERED = 8  # every so many pages one is written
SAMPLE_SECONDS = 0.02
FULL = {"stores": 5000000, "syncs": 1500, "save_mib": 512, "save_pairs": 5, "restore_mib": 4096,
        "pace_mib": 256, "pace_set_mib": 64, "pace_pairs": 5,
        # The mover lets go of a hot page after 31 passes of 250 ms: a slice has that once.
        "region_ms": 8000, "file_ms": 1000, "sequence_ms": 1000, "warm_ms": 3000,
        "bound_mib": 1024, "bound_max_mib": 256, "bound_seconds": 20, "slow_mb_s": 40}
QUICK = {"stores": 500000, "syncs": 100, "save_mib": 64, "save_pairs": 2, "restore_mib": 256,
         "pace_mib": 64, "pace_set_mib": 16, "pace_pairs": 2,
         "region_ms": 1000, "file_ms": 300, "sequence_ms": 300, "warm_ms": 1000,
         "bound_mib": 128, "bound_max_mib": 32, "bound_seconds": 4, "slow_mb_s": 20}


def _pinned(*command):
    return ["taskset", "-c", WRITER_CPU, *command]


class Program:
    """bench/persist that runs on, one line of it at a time."""

    def __init__(self, command, agent):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True,
                                        env=agent.environment())

    def __enter__(self):
        return self

    def line(self):
        """What is not said within the limit of a row never is: bench/run is ended by hand."""
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"persist: {last_line(self.process.stderr.read())}")
        return line.strip()

    def ask(self, words):
        self.process.stdin.write(words + "\n")
        self.process.stdin.flush()
        return self.line()

    def __exit__(self, *what):
        agents.end(self.process)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            with contextlib.suppress(OSError):
                stream.close()


class Persist:
    def __init__(self, settings, tools, work, output):
        self.settings = settings
        self.tools = tools
        self.work = work
        self.output = output

    def agent(self):
        if not self.tools["perdure"]:
            raise Failed("the build directory has no perdure")
        return Agent(self.tools["perdure"], self.work)

    # ---- One store that is safe ----

    def stores(self):
        with contextlib.ExitStack() as stack:
            agent = stack.enter_context(self.agent())
            try:
                power = ["--ups", stack.enter_context(Ups(agent.memory)).name]
            except Skip:
                power = ["--no-ups"]
            agent.start(*power)
            agent.serves().create(REGION, 64)
            if power[0] == "--ups":
                agents.wait_until(f"armed ({agent.status()['regions'][0]['why_not_armed']})",
                                  ARM_SECONDS_MAX,
                                  lambda: agent.status()["regions"][0]["armed"])
            lines = run_program(
                ["env", f"PERDURE_FOLDER={agent.regions}", *_pinned(
                    self.tools["persist"], "stores", REGION, str(self.settings["stores"]))],
                "persist stores")
        unsafe = lines[-1]["not_safe"]
        if power[0] == "--ups" and unsafe:
            raise Failed(f"{unsafe} stores were not safe in an armed region")
        return [{**line, "armed": int(power[0] == "--ups")} for line in lines]

    def pmem(self, no_flush):
        if not self.tools["persist_pmem"]:
            raise Skip("built without libpmem: install libpmem-dev, and "
                       "`meson setup --reconfigure build`")
        with self.agent() as place:
            return run_program(
                ["env", "PMEM_IS_PMEM_FORCE=1", f"PMEM_NO_FLUSH={no_flush}", *_pinned(
                    self.tools["persist_pmem"], str(place.memory / "file"),
                    str(self.settings["stores"]))], "persist_pmem")

    def syncs(self):
        with self.agent() as place:
            return run_program(_pinned(self.tools["persist"], "sync", str(place.images / "file"),
                                       str(self.settings["syncs"])), "persist sync")

    # ---- Saves ----

    def _raw(self, agent, way, mib):
        return run_program([self.tools["raw_write"], str(agent.images / "raw"), way, str(mib)],
                           "raw_write")[0]

    def _save(self, agent, step):
        """Fills, and saves at once, before much of it is flushed."""
        fill = [self.tools["persist"], "fill", REGION, str(step)]
        with Program(fill, agent) as program:
            if program.line() != "filled":
                raise Failed("persist fill: does not fill")
            return agent.save()

    def saves(self, step):
        mib = self.settings["save_mib"]
        lines = []
        with self.agent() as agent:
            self._raw(agent, "sequence", mib)
            agent.start("--no-ups", "--dirty-max", f"{4 * mib}M")
            agent.serves().create(REGION, mib)
            # One of each parity, since generations have areas of their own; not counted.
            for _ in range(2):
                bytes_before = self._save(agent, step)["bytes"]
            for _ in range(self.settings["save_pairs"]):
                # What was packed is flushed after a save, which would share the disk.
                with agent.stopped():
                    before = self._raw(agent, "sequence", max(bytes_before >> 20, 1))
                saved = self._save(agent, step)
                bytes_before = saved["bytes"]
                with agent.stopped():
                    after = self._raw(agent, "sequence", max(bytes_before >> 20, 1))
                    if step > 1:
                        lines.append(self._raw(agent, "random", max(bytes_before >> 20, 1)))
                lines += _save_lines(saved, before, after)
        return lines

    # ---- The restore ----

    def restore(self):
        mib = self.settings["restore_mib"]
        with self.agent() as agent:
            agent.start("--no-ups", "--dirty-max", f"{2 * mib}M")
            agent.serves().create(REGION, mib)
            self._save(agent, 1)
            agent.lose_memory()
            first = [self.tools["persist"], "first", REGION]
            with Program(first, agent) as program:
                begin_ns = agent.start("--no-ups")
                read = json.loads(program.line())
                agents.wait_until("restored", agents.CALL_SECONDS_MAX,
                                  lambda: agent.status()["regions"][0]["state"] == "live")
                restored_ns = time.monotonic_ns()
            agent.kill()
            copied_s = self._copy(agent, mib)
        return [{"phase": "restore", "mib": mib,
                 "opened_s": (read["opened_at_ns"] - begin_ns) / 1e9,
                 "first_s": (read["read_at_ns"] - begin_ns) / 1e9,
                 "all_s": (restored_ns - begin_ns) / 1e9, "copy_s": copied_s}]

    def _copy(self, agent, mib):
        """As many of the image's bytes into memory, past the page cache, as the agent reads."""
        begin = time.monotonic()
        done = subprocess.run(["dd", f"if={agent.images / (REGION + '.image')}", "iflag=direct",
                               f"of={agent.memory / 'copy'}", "bs=1M", f"count={mib}"],
                              capture_output=True, text=True)
        if done.returncode:
            raise Failed(f"dd: {last_line(done.stderr)}")
        return time.monotonic() - begin

    # ---- What tracking costs a writer ----

    def writer(self, what):
        """The same program on the region, with the agent, and on a file, with the agent still."""
        settings = self.settings
        mib = settings["pace_mib"]
        region_ms = settings["region_ms"] if what == "random" else settings["sequence_ms"]
        file_ms = settings["file_ms"] if what == "random" else settings["sequence_ms"]
        lines = []
        with self.agent() as agent:
            agent.start("--no-ups", "--dirty-max", f"{8 * mib}M")
            agent.serves().create(REGION, mib)
            command = _pinned(self.tools["persist"], "pace", REGION, str(agent.memory / "file"),
                              str(settings["pace_set_mib"]))
            with Program(command, agent) as program:
                if program.line() != "ready":
                    raise Failed("persist pace: is not ready")
                program.ask(f"region {what} {settings['warm_ms']}")
                for _ in range(settings["pace_pairs"]):
                    with agent.stopped():
                        before = float(program.ask(f"file {what} {file_ms}"))
                    faults = agent.status()["counters"]["write_faults"]
                    tracked = float(program.ask(f"region {what} {region_ms}"))
                    faults = agent.status()["counters"]["write_faults"] - faults
                    with agent.stopped():
                        after = float(program.ask(f"file {what} {file_ms}"))
                    plain = (before + after) / 2
                    lines.append({"phase": "pair", "tracked_ns": tracked, "plain_ns": plain,
                                  "ratio": tracked / plain,
                                  "faults_s": faults * 1000 / region_ms})
        return lines

    # ---- The bound ----

    def bound(self):
        """Samples while the disk is slowed in the middle third; a chart of them."""
        settings = self.settings
        with self.agent() as agent, WriteLimit(agent.images) as limit:
            try:
                samples = self._press(agent, limit)
            finally:
                limit.limit(0)
                agent.kill()
        self.output.mkdir(parents=True, exist_ok=True)
        (self.output / "persist-bound.json").write_text(json.dumps(
            {"settings": settings, "samples": samples}) + "\n")
        return _bound_lines(samples, settings["bound_seconds"])

    def _press(self, agent, limit):
        settings = self.settings
        seconds = settings["bound_seconds"]
        agent.start("--no-ups", "--dirty-max", f"{settings['bound_max_mib']}M",
                    prefix=limit.prefix())
        agent.serves().create(REGION, settings["bound_mib"])
        agent.settle()
        steps = [(2 * seconds / 3, 0), (seconds / 3, int(settings["slow_mb_s"] * 1e6))]
        samples = []
        connection = agents.Connection(agent.regions)
        command = _pinned(self.tools["persist"], "press", REGION)
        with contextlib.closing(connection), Program(command, agent):
            begin = time.monotonic()
            while (now := time.monotonic() - begin) < seconds:
                if steps and now >= steps[-1][0]:
                    limit.limit(steps.pop()[1])
                samples.append(_sample(now, connection.call(agents.STATUS)))
                time.sleep(max(0.0, SAMPLE_SECONDS - (time.monotonic() - begin - now)))
        return samples


def _save_lines(saved, before, after):
    rate = saved["bytes"] * 1e3 / saved["save_ns"]
    raw = statistics.mean((before["mb_s"], after["mb_s"]))
    line = {"phase": "save", "bytes": saved["bytes"], "pages": saved["pages"], "mb_s": rate,
            "stop_ns": saved["stop_ns"], "ratio": rate / raw}
    if "predicted_ns" in saved:
        line["predicted_ratio"] = saved["predicted_ns"] / saved["save_ns"]
        line["predicted_error"] = abs(line["predicted_ratio"] - 1)
    return [before, after, line]


def _sample(now, status):
    counters = status["counters"]
    if status["unflushed_bytes"] > status["bound_bytes"]:
        raise Failed(f"{status['unflushed_bytes']} bytes were unflushed, the bound is "
                     f"{status['bound_bytes']}")
    return {"s": now, "unflushed_bytes": status["unflushed_bytes"],
            "bound_bytes": status["bound_bytes"], "delays": counters["delays"],
            "delay_ns": counters["delay_ns"], "delay_ns_max": counters["delay_ns_max"],
            "opened_bytes": (counters["write_faults"] + counters["pages_ahead"]) * 4096,
            "bytes_written": counters["bytes_written"]}


def _bound_lines(samples, seconds):
    """What happened in each third: the disk as it is, slowed, as it is."""
    lines = []
    for part, phase in enumerate(("before", "slowed", "after")):
        inside = [s for s in samples if part * seconds / 3 <= s["s"] < (part + 1) * seconds / 3]
        if len(inside) < 2:
            raise Failed(f"{len(inside)} samples in {seconds / 3:.0f} s")
        first, last = inside[0], inside[-1]
        took = last["s"] - first["s"]
        lines.append({
            "phase": phase, "samples": len(inside),
            "peak_share": max(s["unflushed_bytes"] / s["bound_bytes"] for s in inside),
            "writer_mb_s": (last["opened_bytes"] - first["opened_bytes"]) / took / 1e6,
            "disk_mb_s": (last["bytes_written"] - first["bytes_written"]) / took / 1e6,
            "delay_us": (last["delay_ns"] - first["delay_ns"]) / 1e3 /
                        max(last["delays"] - first["delays"], 1),
            "delay_ms_max": last["delay_ns_max"] / 1e6})
    # From half of the bound on writers are slowed.
    if lines[1]["peak_share"] < 0.5:
        raise Failed("the writer was not faster than the disk")
    return lines


def draw_bound(output, note):
    """The chart of the last run that had the row."""
    kept = json.loads((output / "persist-bound.json").read_text())
    (output / "persist-bound.svg").write_text(
        persist_chart.draw(kept["samples"], kept["settings"], note))


def measure(session, persist):
    session.row(STORE, persist.stores)
    session.row(FLUSH, lambda: persist.pmem(0))
    session.row(NO_FLUSH, lambda: persist.pmem(1))
    session.row(SYNC, persist.syncs)
    session.row(SAVE, lambda: persist.saves(1))
    session.row(SCATTERED, lambda: persist.saves(STEP_SCATTERED))
    session.row(RESTORE, persist.restore)
    session.row(RANDOM, lambda: persist.writer("random"))
    session.row(SEQUENCE, lambda: persist.writer("sequence"))
    session.row(BOUND, persist.bound)
