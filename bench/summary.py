# SPDX-License-Identifier: Apache-2.0
"""From samples to medians, to a table and to the groups of the chart."""

import statistics

PHASES = ("fill", "touch", "stream", "random_read", "random_write")
REGIONS = "regions "  # of the rows of persist.py


def medians_of(samples):
    """Row, phase, metric to the median over the repetitions; `n` says how many there were."""
    collected = {}
    for sample in samples:
        metrics = collected.setdefault(sample["row"], {}).setdefault(sample["phase"], {})
        for metric, value in sample.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                metrics.setdefault(metric, []).append(value)
    return {row: {phase: {"n": max(map(len, metrics.values())),
                          **{m: statistics.median(values) for m, values in metrics.items()}}
                  for phase, metrics in phases.items()}
            for row, phases in collected.items()}


def redis_medians(samples):
    collected = {}
    for sample in samples:
        key = f"{sample['test']} -P {sample['pipeline']}"
        collected.setdefault(key, {}).setdefault(sample["server"], []).append(sample["rps"])
    return {key: {server: statistics.median(values) for server, values in by_server.items()}
            for key, by_server in collected.items()}


def _cell(ns):
    return f"{ns / 1000:9.2f}" if ns else "        -"


def _workload_lines(medians):
    yield "One page touch, µs: mean, p50 and p99 (stream: MB/s)"
    head = "".join(f"{phase.replace('_', ' '):>28}" for phase in PHASES if phase != "stream")
    yield f"{'':26}{head}{'stream':>11}"
    for row, phases in medians.items():
        if "touch" not in phases:
            continue
        cells = ""
        for phase in PHASES:
            if phase == "stream":
                continue
            found = phases.get(phase, {})
            cells += " " + "".join(_cell(found.get(m)) for m in ("mean_ns", "p50_ns", "p99_ns"))
        yield f"{row:26}{cells}{phases['stream']['mb_s']:11.0f}"


def _fault_lines(medians):
    yield "One far fault, µs (random reads that found the page away; floor: every read)"
    yield f"{'':36}{'p50':>9}{'p99':>9}{'faults/s':>11}"
    for row, phases in medians.items():
        if "fault" in phases:
            found, keys = phases["fault"], ("p50_ns", "p99_ns")
        elif row != "native" and phases.get("random_read", {}).get("far"):
            found, keys = phases["random_read"], ("far_p50_ns", "far_p99_ns")
        else:
            continue
        cells = "".join(_cell(found[key]) for key in keys)
        yield f"{row:36}{cells}{found['far_a_second']:11.0f}"


def _line_lines(phases):
    yield "Line map (ns, µs) and changed lines of a page (ns), with the bytes kept for it"
    for phase, found in phases.items():
        yield f"{phase:36}" + "  ".join(f"{metric} {value:.5g}" for metric, value in found.items()
                                        if metric not in ("n", "changed", "pages"))


def _region_lines(medians):
    yield "Persistent regions, medians by row and phase"
    for row, phases in medians.items():
        for phase, found in phases.items():
            words = "  ".join(f"{metric} {value:.5g}" for metric, value in found.items())
            yield f"{row[len(REGIONS):]:32}{phase:16}{words}"


def _redis_lines(redis):
    yield "redis-benchmark, requests a second"
    for key, by_server in redis.items():
        yield f"{key:26}" + "  ".join(f"{s} {rps:.0f}" for s, rps in by_server.items())


def paging_table(medians, redis, missing):
    lines = []
    if any("touch" in phases for phases in medians.values()):
        lines += [*_workload_lines(medians), ""]
    regions = {row: phases for row, phases in medians.items() if row.startswith(REGIONS)}
    if medians.keys() - {"lines"} - regions.keys():
        lines += [*_fault_lines(medians), ""]
    if "lines" in medians:
        lines += [*_line_lines(medians["lines"]), ""]
    if regions:
        lines += [*_region_lines(regions), ""]
    if redis:
        lines += [*_redis_lines(redis), ""]
    lines += [f"{row}: {reason}" for row, reason in missing.items()]
    return "\n".join(lines + ([""] if missing else []))


def _bars(medians, phase, metric, scale):
    """The better page-cluster of each kind of swap stands for it."""
    bars, best = [], {}
    for row, phases in medians.items():
        value = phases.get(phase, {}).get(metric)
        if not value or "touch" not in phases:
            continue
        name = row if ", cluster" not in row else "swap: " + row.split(",")[0]
        better = min if metric == "mean_ns" else max
        best[name] = better(best.get(name, value), value)
    for name, value in best.items():
        bars.append((name, value * scale))
    return bars


def _fault_bars(medians):
    bars = []
    for row, phases in medians.items():
        if not row.endswith("pinned x1"):
            continue
        found = phases.get("fault") or phases.get("random_read")
        value = found.get("p50_ns" if "fault" in phases else "far_p50_ns")
        if value:
            bars.append((row[: -len(" x1")], value / 1000))
    return sorted(bars, key=lambda bar: (not bar[0].startswith("floor"), bar[0]))


def chart_groups(medians):
    touch = "mean_ns"
    return [
        {"title": "Random read, mean of one page touch, µs", "better": "lower",
         "bars": _bars(medians, "random_read", touch, 1e-3)},
        {"title": "Random write, mean of one page touch, µs", "better": "lower",
         "bars": _bars(medians, "random_write", touch, 1e-3)},
        {"title": "Sequential touch, mean of one page, µs", "better": "lower",
         "bars": _bars(medians, "touch", touch, 1e-3)},
        {"title": "Sequential stream of every line, GB/s", "better": "higher",
         "bars": _bars(medians, "stream", "mb_s", 1e-3)},
        {"title": "Fill, GB/s", "better": "higher",
         "bars": _bars(medians, "fill", "mb_s", 1e-3)},
        {"title": "One far fault, p50, µs", "better": "lower", "bars": _fault_bars(medians)},
    ]
