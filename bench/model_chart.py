# SPDX-License-Identifier: Apache-2.0
"""The charts of bench/model as SVG, in the style of chart.py."""

import html
import math

from chart import STYLE

WIDTH = 900
LEFT = 232
RIGHT = 96
TOP = 92
BAR = 15
GAP = 5
COLOURS = ("#2f7ed8", "#e08a2c", "#8a94a0", "#4fa58a")
PLOT_HEIGHT = 320


def _text(x, y, style, words, anchor="start"):
    return (f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
            f"{html.escape(words)}</text>")


def _page(title, note, height, parts):
    head = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}" '
            f'viewBox="0 0 {WIDTH} {height:.0f}" role="img">',
            f"<title>{html.escape(title)}</title>", f"<style>{STYLE}</style>",
            f'<rect class="page" width="{WIDTH}" height="{height:.0f}"/>',
            _text(24, 30, "title", title), _text(24, 50, "note", note)]
    return "\n".join([*head, *parts, "</svg>", ""])


def _legend(names):
    parts, x = [], 24
    for name, colour in names.items():
        parts.append(f'<rect x="{x}" y="64" width="11" height="11" rx="2" fill="{colour}"/>')
        parts.append(_text(x + 17, 74, "row", name))
        x += 17 + 7.5 * len(name) + 24
    return parts


def _short(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def _group(title, rows, colours, most, top):
    parts = [_text(24, top + 14, "group", title)]
    y = top + 24
    for label, kind, value in rows:
        length = max((WIDTH - LEFT - RIGHT) * value / most if most else 0, 1.5)
        parts.append(_text(LEFT - 10, y + BAR - 3.5, "row", label, "end"))
        parts.append(f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2" '
                     f'fill="{colours[kind]}"/>')
        parts.append(_text(LEFT + length + 7, y + BAR - 3.5, "value", _short(value)))
        y += BAR + GAP
    return parts, y + 14


def bars(title, note, groups, most=None):
    """`groups`: (title, rows of (label, kind, value)); a scale for each unless `most` is given."""
    kinds = list(dict.fromkeys(kind for _, rows in groups for _, kind, _ in rows))
    colours = dict(zip(kinds, COLOURS))
    parts, top = _legend(colours), TOP
    for name, rows in groups:
        more, top = _group(name, rows, colours, most or max(row[2] for row in rows), top)
        parts += more
    return _page(title, note, top, parts)


def _curve(points, colour, x_of, y_of):
    path = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in points)
    dots = [f'<circle cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" r="2.6" fill="{colour}"/>'
            for x, y in points]
    return [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>', *dots]


def curves(title, note, lines, zones):
    """`lines`: name to points of (x, percent), x logarithmic; `zones`: (name, from, to)."""
    first = min(x for points in lines.values() for x, _ in points)
    last = max(x for points in lines.values() for x, _ in points)
    left, right, bottom = 64, WIDTH - 40, TOP + 30 + PLOT_HEIGHT

    def x_of(x):
        return left + (right - left) * math.log(x / first) / math.log(last / first)

    def y_of(y):
        return bottom - PLOT_HEIGHT * y / 100

    colours = dict(zip(lines, COLOURS))
    parts = _legend(colours)
    for name, low, high in zones:
        parts.append(_text((x_of(low) + x_of(high)) / 2, TOP + 16, "note", name, "middle"))
        parts.append(f'<line class="grid" x1="{x_of(high):.1f}" x2="{x_of(high):.1f}" '
                     f'y1="{TOP + 22}" y2="{bottom}" stroke-dasharray="4 3"/>')
    for percent in range(0, 101, 25):
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y_of(percent):.1f}" '
                     f'y2="{y_of(percent):.1f}"/>')
        parts.append(_text(left - 8, y_of(percent) + 4, "tick", f"{percent}", "end"))
    for x in (1, 2, 3, 4, 6, 8, 12, 20, 40):
        if first <= x <= last:
            parts.append(_text(x_of(x), bottom + 18, "tick", f"{x}", "middle"))
    for name, points in lines.items():
        parts += _curve(points, colours[name], x_of, y_of)
    return _page(title, note, bottom + 36, parts)
