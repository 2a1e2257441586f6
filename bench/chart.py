# SPDX-License-Identifier: Apache-2.0
"""The chart: horizontal bars grouped by workload, written as SVG by hand."""

import html
import math

WIDTH = 900
LEFT = 232  # room for the rows' names
RIGHT = 96  # room for the values
TOP = 76
BAR = 15
GAP = 6
GROUP_HEAD = 44
GROUP_TAIL = 14

COLOURS = {"perdure": "#2f7ed8", "swap": "#e08a2c", "native": "#8a94a0", "floor": "#4fa58a"}
NAMES = {"perdure": "Perdure", "swap": "kernel swap", "native": "no limit", "floor": "bare floor"}

STYLE = """
  text { font-family: system-ui, 'DejaVu Sans', sans-serif; fill: #24292f; }
  .page { fill: #ffffff; }
  .title { font-size: 18px; font-weight: 600; }
  .note, .tick { font-size: 11px; fill: #6a737d; }
  .group { font-size: 13px; font-weight: 600; }
  .row, .value { font-size: 12px; }
  .grid { stroke: #d9dee3; stroke-width: 1; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; } .page { fill: #0d1117; }
    .note, .tick { fill: #9aa4af; } .grid { stroke: #30363d; }
  }
"""


def kind_of(row):
    for kind in ("perdure", "floor", "native"):
        if row.startswith(kind):
            return kind
    return "swap"


def _short(value):
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _text(x, y, style, words, anchor="start"):
    return (f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
            f"{html.escape(words)}</text>")


class _Scale:
    """Logarithmic when the values span more than a factor of 12, else linear from zero."""

    def __init__(self, values):
        self.log = max(values) / min(values) > 12
        self.low = 10 ** math.floor(math.log10(min(values) * 0.8)) if self.log else 0.0
        self.high = max(values) * (1.15 if self.log else 1.05)

    def x(self, value):
        span = WIDTH - LEFT - RIGHT
        if self.log:
            share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            share = value / self.high
        return LEFT + span * min(share, 1)

    def ticks(self):
        if self.log:
            powers = range(round(math.log10(self.low)), math.floor(math.log10(self.high)) + 1)
            return [10.0 ** power for power in powers]
        step = 10 ** math.floor(math.log10(self.high))
        step = next(s for s in (step / 5, step / 2, step, 2 * step) if self.high / s <= 6)
        return [step * i for i in range(int(self.high / step) + 1)]


def _group(group, top):
    """`group`: title, better ("lower" or "higher"), bars of (row, value)."""
    bars = group["bars"]
    scale = _Scale([value for _, value in bars])
    bottom = top + GROUP_HEAD + len(bars) * (BAR + GAP) - GAP
    note = f"{group['better']} is better" + (", logarithmic" if scale.log else "")
    parts = [_text(24, top + 14, "group", group["title"]),
             _text(WIDTH - 24, top + 14, "note", note, "end")]
    for tick in scale.ticks():
        x = scale.x(tick)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top + GROUP_HEAD - 8}" '
                     f'y2="{bottom + 4}"/>')
        parts.append(_text(x, top + GROUP_HEAD - 13, "tick", f"{tick:g}", "middle"))
    y = top + GROUP_HEAD
    for row, value in bars:
        end = max(scale.x(value), LEFT + 1.5)
        parts.append(_text(LEFT - 10, y + BAR - 3.5, "row", row, "end"))
        parts.append(f'<rect x="{LEFT}" y="{y}" width="{end - LEFT:.1f}" height="{BAR}" rx="2" '
                     f'fill="{COLOURS[kind_of(row)]}"/>')
        parts.append(_text(end + 7, y + BAR - 3.5, "value", _short(value)))
        y += BAR + GAP
    return parts, bottom + GROUP_TAIL + 14


def _legend(kinds):
    parts, x = [], 24
    for kind in kinds:
        parts.append(f'<rect x="{x}" y="{TOP - 24}" width="11" height="11" rx="2" '
                     f'fill="{COLOURS[kind]}"/>')
        parts.append(_text(x + 17, TOP - 14.5, "row", NAMES[kind]))
        x += 17 + 8 * len(NAMES[kind]) + 26
    return parts


def draw(title, note, groups):
    groups = [group for group in groups if group["bars"]]
    rows = [row for group in groups for row, _ in group["bars"]]
    kinds = [kind for kind in NAMES if any(kind_of(row) == kind for row in rows)]
    parts, top = [], TOP + 12
    for group in groups:
        more, top = _group(group, top)
        parts += more
    height = top + 4
    head = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
            f'viewBox="0 0 {WIDTH} {height}" role="img">',
            f"<title>{html.escape(title)}</title>", f"<style>{STYLE}</style>",
            f'<rect class="page" width="{WIDTH}" height="{height}"/>',
            _text(24, 30, "title", title), _text(WIDTH - 24, 30, "note", note, "end")]
    return "\n".join([*head, *_legend(kinds), *parts, "</svg>", ""])
