# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Pictures of the measurements, as SVG."""

import math
from html import escape

import rows

COLOURS = {"file": "#9a9a9a", "loop": "#c8a24a", "nbd": "#b0563f", "linear": "#6b7f99", "thin": "#7b9a5f", "ublk": "#8b6a9e",
           "ours": "#1f6fb4", "ours-device": "#0b3a63"}


def head(width, height):
    """Return the first lines of a picture."""
    return [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
            'font-family="sans-serif" font-size="12">', f'<rect width="{width}" height="{height}" fill="white"/>']


def text(x, y, what, more=""):
    """Return a line of text."""
    return f'<text x="{x:.1f}" y="{y:.1f}" {more}>{escape(what)}</text>'


def bars(medians, names):
    """Bars of requests a second, by a logarithmic scale: a group for each row, a bar for each peer."""
    thick, gap, left, wide, top = 11, 14, 170, 620, 34 + 18 * ((len(names) + 2) // 3)
    values = [value for peers in medians.values() for value in peers.values() if value > 0]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    high = max(high, low + 1)
    height = top + sum(thick * len(peers) + gap for peers in medians.values()) + 20

    def place(value):
        return left + wide * (math.log10(max(value, 10 ** low)) - low) / (high - low)

    lines = head(left + wide + 90, height) + [text(10, 18, "Requests a second (logarithmic), median of the rounds", 'font-size="14"')]
    for number, name in enumerate(names):
        x, y = 10 + 260 * (number % 3), 30 + 18 * (number // 3)
        lines += [f'<rect x="{x}" y="{y}" width="12" height="10" fill="{COLOURS[name]}"/>', text(x + 17, y + 9, rows.NAMES[name])]
    for power in range(low, high + 1):
        x = place(10 ** power)
        lines += [f'<line x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{height - 16}" stroke="#ddd"/>',
                  text(x, height - 4, f"{10 ** power:g}", 'text-anchor="middle" fill="#666"')]
    y = top + gap / 2
    for row, peers in medians.items():
        lines.append(text(left - 8, y + thick * len(peers) / 2 + 4, row, 'text-anchor="end"'))
        for name in names:
            if name in peers:
                end = place(peers[name])
                lines += [f'<rect x="{left}" y="{y:.1f}" width="{max(1, end - left):.1f}" height="{thick - 2}" fill="{COLOURS[name]}"/>',
                          text(end + 4, y + 9, f"{peers[name]:.0f}", 'font-size="9" fill="#444"')]
                y += thick
        y += gap
    return "\n".join(lines + ["</svg>"]) + "\n"


def curves(points, xs, title, unit):
    """Lines over sizes, both scales logarithmic: points is {name: [value of each x]}, xs [(label, number)]."""
    left, top, wide, tall = 80, 46, 560, 320
    values = [value for line in points.values() for value in line if value]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    high = max(high, low + 1)
    first, last = math.log2(xs[0][1]), math.log2(xs[-1][1])
    palette = list(COLOURS.values())

    def place(number, value):
        return (left + wide * (math.log2(number) - first) / max(1e-9, last - first),
                top + tall * (high - math.log10(value)) / (high - low))

    lines = head(left + wide + 190, top + tall + 50) + [text(10, 20, f"{title} ({unit}, both scales logarithmic)", 'font-size="14"')]
    for power in range(low, high + 1):
        y = place(xs[0][1], 10 ** power)[1]
        lines += [f'<line x1="{left}" y1="{y:.1f}" x2="{left + wide}" y2="{y:.1f}" stroke="#ddd"/>',
                  text(left - 6, y + 4, f"{10 ** power:g}", 'text-anchor="end"')]
    for label, number in xs:
        lines.append(text(place(number, 10 ** low)[0], top + tall + 18, label, 'text-anchor="middle"'))
    for index, (name, line) in enumerate(points.items()):
        colour = palette[(index * 3 + 6) % len(palette)]
        spots = [place(number, value) for (_, number), value in zip(xs, line) if value]
        lines.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="' +
                     " ".join(f"{x:.1f},{y:.1f}" for x, y in spots) + '"/>')
        lines += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in spots]
        lines.append(text(spots[-1][0] + 8, spots[-1][1] + 4, name, f'fill="{colour}"'))
    return "\n".join(lines + ["</svg>"]) + "\n"
