# SPDX-License-Identifier: Apache-2.0
"""The chart of the bound: what is unflushed, the bound, delays and rates over time, as SVG."""

import math

from chart import STYLE, WIDTH, _text

LEFT, RIGHT, TOP = 64, 32, 66
HEIGHT, HEAD, TAIL = 150, 46, 30
COLOURS = ("#2f7ed8", "#e08a2c", "#4fa58a")
WINDOW_SECONDS = 1.0  # of a rate: the agent counts what it wrote once a second
MIB = 2 ** 20


class _Axis:
    """Upwards from zero in round steps, or logarithmic: from 1, with what is less on the line."""

    def __init__(self, values, logarithmic):
        most = max(max(values) * 1.08, 1.0)
        self.log = logarithmic
        self.most = 10 ** math.ceil(math.log10(most * 1.01)) if logarithmic else most

    def share(self, value):
        if self.log:
            return math.log(max(value, 1.0)) / math.log(self.most)
        return value / self.most

    def ticks(self):
        if self.log:
            return [10.0 ** power for power in range(round(math.log10(self.most)) + 1)]
        step = _step(self.most)
        return [i * step for i in range(int(self.most / step) + 1)]


def _step(most):
    """A round step of which at most five go into `most`."""
    step = 10 ** math.floor(math.log10(most))
    return next(s for s in (step / 5, step / 2, step, 2 * step) if most / s <= 5)


def _legend(names, y):
    parts, x = [], WIDTH - RIGHT
    for name, colour in reversed(list(zip(names, COLOURS))):
        x -= 7 * len(name) + 34
        parts.append(f'<rect x="{x}" y="{y - 9}" width="11" height="11" rx="2" '
                     f'fill="{colour}"/>')
        parts.append(_text(x + 16, y + 1, "row", name))
    return parts


def _panel(panel, top, seconds, zone):
    lines = panel["lines"]
    axis = _Axis([y for points in lines.values() for _, y in points], panel.get("log"))
    first, bottom = top + HEAD - 14, top + HEAD - 14 + HEIGHT

    def x_of(x):
        return LEFT + (WIDTH - LEFT - RIGHT) * x / seconds

    def y_of(y):
        return bottom - HEIGHT * axis.share(y)

    parts = [f'<rect class="grid" x="{x_of(zone[0]):.1f}" y="{first}" '
             f'width="{x_of(zone[1]) - x_of(zone[0]):.1f}" height="{HEIGHT}" '
             'fill="#8a94a0" fill-opacity="0.14" stroke="none"/>',
             _text(24, top + 14, "group", panel["title"]), *_legend(lines, top + 13)]
    for tick in axis.ticks():
        y = y_of(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" '
                     f'y2="{y:.1f}"/>')
        parts.append(_text(LEFT - 8, y + 4, "tick", f"{tick:g}", "end"))
    step = _step(seconds)
    for i in range(int(seconds / step) + 1):
        parts.append(_text(x_of(i * step), bottom + 16, "tick", f"{i * step:g}", "middle"))
    for (name, points), colour in zip(lines.items(), COLOURS):
        path = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" '
                     'stroke-width="1.6" stroke-linejoin="round"/>')
    return parts, bottom + TAIL


def _rates(samples, of):
    """(s, `of` a second) over the window that ends there."""
    points, back = [], 0
    for sample in samples:
        while sample["s"] - samples[back + 1]["s"] > WINDOW_SECONDS:
            back += 1
        took = sample["s"] - samples[back]["s"]
        if took >= WINDOW_SECONDS / 2:
            points.append((sample["s"], (of(sample) - of(samples[back])) / took))
    return points


def _delays(samples):
    """Mean of the delays that ended since the sample before; where none did, nothing waited."""
    points = []
    for before, sample in zip(samples, samples[1:]):
        ended = sample["delays"] - before["delays"]
        points.append((sample["s"],
                       (sample["delay_ns"] - before["delay_ns"]) / 1e3 / ended if ended else 0.0))
    return points


def draw(samples, settings, note):
    seconds = settings["bound_seconds"]
    zone = seconds / 3, 2 * seconds / 3
    panels = [
        {"title": "Memory that is not on disk, MiB", "lines": {
            "unflushed": [(s["s"], s["unflushed_bytes"] / MIB) for s in samples],
            "bound": [(s["s"], s["bound_bytes"] / MIB) for s in samples]}},
        {"title": "Delay of a first store to a page, µs, logarithmic", "log": True,
         "lines": {"mean of a sample": _delays(samples)}},
        {"title": "Pages, MB/s", "lines": {
            "opened to the writer": _rates(samples, lambda s: s["opened_bytes"] / 1e6),
            "written to the image": _rates(samples, lambda s: s["bytes_written"] / 1e6)}}]
    title = "A writer faster than the disk"
    parts, top = [], TOP
    for panel in panels:
        more, top = _panel(panel, top, seconds, zone)
        parts += more
    words = (f"seconds; grey: the disk slowed to {settings['slow_mb_s']} MB/s; "
             f"a sample each 20 ms")
    head = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}" '
            f'viewBox="0 0 {WIDTH} {top}" role="img">',
            f"<title>{title}</title>", f"<style>{STYLE}</style>",
            f'<rect class="page" width="{WIDTH}" height="{top}"/>',
            _text(24, 30, "title", title), _text(WIDTH - 24, 30, "note", note, "end"),
            _text(24, 48, "note", words)]
    return "\n".join([*head, *parts, "</svg>", ""])
