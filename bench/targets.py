# SPDX-License-Identifier: Apache-2.0
"""The figures that Perdure has promised itself, each judged from the medians of one session."""

import math

FLOOR_MAX = 1.3
UNPINNED_MAX = 1.5
RANDOM_MAX = 0.7
SCALING_MIN = 1.6
OVERHEAD_MAX = 0.03
METADATA_MAX = 0.01
STREAM_NODE_MIN, STREAM_NODE_MB_S_MIN, STREAM_TCP_MIN = 4, 1500, 2
RANDOM_PREFETCH_MAX = 1.02
SCAN_MIN = 1.5
SCANS = ("python list", "sqlite table", "redis full scan")
STORED_WRITES_MAX, STORED_REDIS_MAX, STORE_TIME_MAX = 1 / 8, 1 / 3, 1.03
LINE_SET_NS_MAX = 10
SCAN_CLEAN_US_MAX = 20
SCAN_GROWTH_MAX = 1.5
SCAN_FEW, SCAN_ALL = 512, 262144
PERSIST_NS_MAX, SAVE_MIN, PREDICTED_MAX, FIRST_READ_S_MAX, TRACKING_MAX = 20, 0.9, 0.2, 0.2, 1.03
THREADS = (1, 2, 4)
SWAPS = ("zram, cluster 0", "zram, cluster 3", "ext4 file, cluster 0", "ext4 file, cluster 3")


def _value(medians, row, phase, metric):
    return medians.get(row, {}).get(phase, {}).get(metric)


def _verdict(name, measured, limit, at_most, words):
    """`measured` None: the rows that it needs are missing."""
    if measured is None:
        verdict = "not measured"
    elif measured <= limit if at_most else measured >= limit:
        verdict = "met"
    else:
        verdict = "missed"
    return {"target": name, "verdict": verdict, "measured": measured, "limit": limit,
            "relation": "at most" if at_most else "at least", "words": words}


def _ratio(above, below):
    return above / below if above and below else None


def _best(medians, rows, phase, metric, choose):
    values = [v for v in (_value(medians, row, phase, metric) for row in rows) if v]
    return choose(values) if values else None


def _us(ns):
    return "-" if ns is None else f"{ns / 1000:.1f} µs"


def _floor_targets(medians):
    for transport in ("cma", "shm", "tcp"):
        for pinning in ("pinned", "unpinned"):
            rows = [f"floor {transport}, {install}, {pinning} x1" for install in ("copy", "move")]
            floor = _best(medians, rows, "fault", "p50_ns", min)
            row = f"perdure node-{transport}, {pinning} x1"
            fault = _value(medians, row, "random_read", "far_p50_ns")
            yield _verdict(f"far fault p50, node {transport}, {pinning}, over the floor",
                           _ratio(fault, floor), FLOOR_MAX, True,
                           f"{_us(fault)} against {_us(floor)}")


def _pinning_targets(medians):
    for backing in ("mem", "node-cma"):
        for threads in THREADS:
            pinned, unpinned = (
                _value(medians, f"perdure {backing}, {pinning} x{threads}", "random_read",
                       "far_p50_ns") for pinning in ("pinned", "unpinned"))
            yield _verdict(f"unpinned over pinned, {backing}, {threads} faulting",
                           _ratio(unpinned, pinned), UNPINNED_MAX, True,
                           f"p50 {_us(unpinned)} against {_us(pinned)}")


def _swap_targets(medians):
    for backing in ("node-cma", "node-shm"):
        for phase in ("random_read", "random_write"):
            zram = _best(medians, SWAPS[:2], phase, "mean_ns", min)
            ours = _value(medians, f"perdure {backing}", phase, "mean_ns")
            yield _verdict(f"{phase.replace('_', ' ')} mean, {backing} over swap on zram",
                           _ratio(ours, zram), RANDOM_MAX, True, f"{_us(ours)} against {_us(zram)}")


def _mb_s(*values):
    return " against ".join("-" if value is None else f"{value:.0f} MB/s" for value in values)


def _stream_targets(medians):
    """Page by page (no prefetch) as good as kernel swap; with it, several times as fast."""
    swap = _best(medians, SWAPS, "stream", "mb_s", max)
    for row, least in (("node-cma, no prefetch", 1.0), ("mem, no prefetch", 1.0),
                       ("node-cma", STREAM_NODE_MIN), ("node-shm", STREAM_NODE_MIN),
                       ("node-tcp", STREAM_TCP_MIN)):
        ours = _value(medians, f"perdure {row}", "stream", "mb_s")
        yield _verdict(f"stream, {row}, over the best kernel swap", _ratio(ours, swap), least,
                       False, _mb_s(ours, swap))
    ours = _value(medians, "perdure node-cma", "stream", "mb_s")
    yield _verdict(f"stream, node-cma, over {STREAM_NODE_MB_S_MIN} MB/s",
                   _ratio(ours, STREAM_NODE_MB_S_MIN), 1.0, False, _mb_s(ours))


def _prefetch_targets(medians):
    for backing in ("mem", "node-cma", "node-tcp"):
        ours, plain = (_value(medians, f"perdure {backing}{how}", "random_read", "mean_ns")
                       for how in ("", ", no prefetch"))
        yield _verdict(f"random read mean, {backing}, over no prefetch", _ratio(ours, plain),
                       RANDOM_PREFETCH_MAX, True, f"{_us(ours)} against {_us(plain)}")


def _store_targets(medians):
    for row, share in (("random writes node-cma", STORED_WRITES_MAX),
                       ("random writes node-tcp", STORED_WRITES_MAX),
                       ("random writes node-tcp-slow", STORED_WRITES_MAX),
                       ("redis SET", STORED_REDIS_MAX)):
        for metric, limit, what in (("bytes", share, "bytes stored"),
                                    ("ns", 1 if "slow" in row else STORE_TIME_MAX, "time")):
            pages, lines = (_value(medians, row, way, metric) for way in ("pages", "lines"))
            words = _us(lines) + " against " + _us(pages) if metric == "ns" else (
                f"{lines:.0f} B an operation against {pages:.0f}" if lines and pages else "")
            yield _verdict(f"{row}, {what}, lines over pages", _ratio(lines, pages), limit, True,
                           words)


def _scan_targets(medians):
    for program in SCANS:
        plain, ours = (_value(medians, f"scan {program}", way, "seconds")
                       for way in ("none", "adaptive"))
        words = "-" if None in (plain, ours) else f"{plain:.2f} s against {ours:.2f} s"
        yield _verdict(f"scan, {program}, no prefetch over prefetch, tcp", _ratio(plain, ours),
                       SCAN_MIN, False, words)


def _scaling_targets(medians):
    for pinning in ("pinned", "unpinned"):
        one, two = (_value(medians, f"perdure mem, {pinning} x{threads}", "random_read",
                           "far_a_second") for threads in (1, 2))
        words = "-" if None in (one, two) else f"{two:.0f} against {one:.0f} pages/s"
        yield _verdict(f"two threads over one, mem, {pinning}", _ratio(two, one), SCALING_MIN,
                       False, words)


def _overhead_targets(redis):
    """The geometric mean over tests and pipelines; each of them is in the words."""
    ratios = {key: _ratio(by_server.get("native"), by_server.get("perdure"))
              for key, by_server in redis.items()}
    ratios = {key: ratio for key, ratio in ratios.items() if ratio}
    controls = [_ratio(b.get("native"), b.get("control")) for b in redis.values()]
    controls = [math.log(c) for c in controls if c]
    name = "redis-benchmark overhead, everything local"
    if not ratios:
        return [_verdict(name, None, OVERHEAD_MAX, True, "-")]
    mean = math.exp(sum(map(math.log, ratios.values())) / len(ratios)) - 1
    words = ", ".join(f"{key} {ratio - 1:+.1%}" for key, ratio in ratios.items())
    if controls:
        words += f"; native against native {math.exp(sum(controls) / len(controls)) - 1:+.1%}"
    return [_verdict(name, mean, OVERHEAD_MAX, True, words)]


def _metadata_targets(medians):
    report = medians.get("perdure mem", {}).get("report", {})
    metadata, region = report.get("metadata_bytes"), report.get("region_bytes")
    words = "-" if not metadata or not region else (
        f"{metadata / 2**20:.2f} MiB for {region / 2**20:.0f} MiB")
    return [_verdict("metadata over region", _ratio(metadata, region), METADATA_MAX, True, words)]


def _line_targets(medians):
    if "lines" not in medians:
        return
    new, again, flat = (_value(medians, "lines", "set", metric)
                        for metric in ("new_ns", "again_ns", "flat_new_ns"))
    yield _verdict("line map, set of a line over 10 ns", max(new, again) / LINE_SET_NS_MAX, 1.0,
                   True, f"{new:.1f} ns, set again {again:.1f} ns, flat bitmap {flat:.1f} ns")
    clean, flat = (_value(medians, "lines", "scan clean", metric) for metric in ("us", "flat_us"))
    yield _verdict("line map, scan of 1 GiB unchanged over 20 µs", clean / SCAN_CLEAN_US_MAX, 1.0,
                   True, f"{clean:.2f} µs, flat bitmap {flat:.0f} µs")
    few, all_pages = (_value(medians, "lines", f"scan {count} changed", "us") * 1000 / count
                      for count in (SCAN_FEW, SCAN_ALL))
    yield _verdict("line map, a changed page's part of a scan, all over few changed",
                   all_pages / few, SCAN_GROWTH_MAX, True,
                   f"{all_pages:.1f} ns with {SCAN_ALL} changed, {few:.1f} ns with {SCAN_FEW}")


def _persist_targets(medians):
    ours = medians.get("regions store", {}).get("persist", {})
    others = ", ".join(
        f"{name} {value:.0f} ns" for name, value in (
            (name, _value(medians, f"regions {row}", "persist", "p50_ns")) for name, row in (
                ("libpmem", "store, libpmem"), ("without flush", "store, libpmem without flush"),
                ("fdatasync", "store, fdatasync"))) if value)
    p50 = ours.get("p50_ns")
    words = "-" if not ours else (
        f"p50 {p50:.1f} ns ({'armed' if ours['armed'] else 'not armed, the same two loads'}); "
        f"{others}")
    yield _verdict(f"a persist over {PERSIST_NS_MAX} ns", _ratio(p50, PERSIST_NS_MAX), 1.0, True,
                   words)


def _save_targets(medians):
    for row in ("regions save", "regions save, scattered pages"):
        found = medians.get(row, {}).get("save", {})
        raw = _value(medians, row, "raw sequence", "mb_s")
        scattered = _value(medians, row, "raw random", "mb_s")
        words = _mb_s(found.get("mb_s"), raw) + (
            f"; random pages {scattered:.0f} MB/s" if scattered else "")
        yield _verdict(f"{row}, over raw writes", found.get("ratio"), SAVE_MIN, False, words)
        predicted = found.get("predicted_ratio")
        yield _verdict(f"{row}, predicted time off by", found.get("predicted_error"),
                       PREDICTED_MAX, True,
                       "-" if predicted is None else f"predicted {predicted:.2f} of the real time")


def _region_targets(medians):
    """What the persistent regions of one host promise (`bench/run --only persist`)."""
    if not any(row.startswith("regions ") for row in medians):
        return
    yield from _persist_targets(medians)
    yield from _save_targets(medians)
    found = medians.get("regions restore", {}).get("restore", {})
    first = found.get("first_s")
    words = "-" if first is None else (
        f"{found['mib']:.0f} MiB: first read {first:.3f} s, all {found['all_s']:.2f} s, "
        f"a copy {found['copy_s']:.2f} s")
    yield _verdict(f"first read after a restart over {FIRST_READ_S_MAX} s",
                   _ratio(first, FIRST_READ_S_MAX), 1.0, True, words)
    found = medians.get("regions writer, random", {}).get("pair", {})
    words = "-" if not found else (
        f"{found['tracked_ns']:.2f} ns a store against {found['plain_ns']:.2f}")
    yield _verdict("a writer that is tracked over one that is not", found.get("ratio"),
                   TRACKING_MAX, True, words)
    phases = medians.get("regions bound", {})
    peak = max((phase["peak_share"] for phase in phases.values()), default=None)
    words = ", ".join(
        f"{name}: {phase['writer_mb_s']:.0f} MB/s, mean delay {phase['delay_us']:.0f} µs"
        for name, phase in phases.items()) or "-"
    yield _verdict("unflushed at the most, over the bound", peak, 1.0, True, words)


def judge(medians, redis):
    """`medians`: row, phase, metric to number. `redis`: "SET -P 1" to server to requests/s."""
    return [*_floor_targets(medians), *_pinning_targets(medians), *_swap_targets(medians),
            *_stream_targets(medians), *_prefetch_targets(medians), *_scan_targets(medians),
            *_store_targets(medians), *_scaling_targets(medians), *_overhead_targets(redis),
            *_metadata_targets(medians), *_line_targets(medians), *_region_targets(medians)]


def line(verdict):
    measured, limit = verdict["measured"], verdict["limit"]
    share = limit in (OVERHEAD_MAX, METADATA_MAX, PREDICTED_MAX)
    number = "-" if measured is None else f"{measured:+.2%}" if share else f"{measured:.2f}x"
    bound = f"{limit:.0%}" if share else f"{limit}x"
    return (f"{verdict['verdict']:<13} {verdict['target']}: {number} "
            f"({verdict['relation']} {bound}); {verdict['words']}")
