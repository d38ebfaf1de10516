"""Draw `docs/images/network.svg`: the network, its joint graph reasoning and its votes.

python docs/draw_network.py
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from draw_layouts import places

from handpose.geometry.layouts import MSRA21
from handpose.results.overlay import joint_colors

INK, SOFT, PAPER, PANEL, BLUE = "#1f2933", "#62727f", "#ffffff", "#f3f6f9", "#2f6fb3"
COLORS = [f"rgb({red},{green},{blue})" for blue, green, red in joint_colors(MSRA21)]
COLORS[0] = SOFT  # the wrist, visible on a white background
WIDTH, HEIGHT = 1000, 590
JOINT = MSRA21.joints.index("index_tip")
GRID, CELL = 12, 15  # cells per side (of the 24 x 24 grid), px per cell


def text(
    x: float, y: float, words: str, size: int = 13, color: str = INK, anchor: str = "middle", weight: int = 400
) -> str:
    words = words.replace("<b>", "<tspan font-weight='600'>").replace("</b>", "</tspan>")
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{color}" text-anchor="{anchor}" '
        f'font-weight="{weight}">{words}</text>'
    )


def box(x: float, y: float, width: float, height: float, fill: str = PAPER, stroke: str = SOFT, radius: int = 7) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{radius}" '
        f'fill="{fill}" stroke="{stroke}"/>'
    )


def arrow(*points: tuple[float, float], color: str = INK, width: float = 1.6, opacity: float = 1.0) -> str:
    """Return a polyline through the points that ends in an arrowhead."""
    (x0, y0), (x1, y1) = points[-2:]
    angle, size = math.atan2(y1 - y0, x1 - x0), 3.5 + 2 * width
    wings = [(x1 - size * math.cos(angle + turn), y1 - size * math.sin(angle + turn)) for turn in (-0.42, 0.42)]
    neck = (x1 - 0.7 * size * math.cos(angle), y1 - 0.7 * size * math.sin(angle))
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in (*points[:-1], neck))
    head = " ".join(f"{x:.1f},{y:.1f}" for x, y in ((x1, y1), *wings))
    return (
        f'<g opacity="{opacity:.2f}"><polyline points="{line}" fill="none" stroke="{color}" stroke-width="{width}"/>'
        f'<polygon points="{head}" fill="{color}"/></g>'
    )


def hand(x: float, y: float, size: float) -> np.ndarray:
    """Return the joints (21, 2) of a hand that is `size` px high, with its upper left corner at (x, y)."""
    points = places(MSRA21)
    low = points.min(axis=0)
    return (points - low) * size / np.ptp(points[:, 1]) + [x, y]


def skeleton(points: np.ndarray, radius: float = 4.0, width: float = 3.0) -> str:
    lines = [
        f'<line x1="{points[a, 0]:.1f}" y1="{points[a, 1]:.1f}" x2="{points[b, 0]:.1f}" y2="{points[b, 1]:.1f}" '
        f'stroke="{COLORS[b]}" stroke-width="{width}" stroke-linecap="round"/>'
        for a, b in MSRA21.bones
    ]
    dots = [
        f'<circle cx="{u:.1f}" cy="{v:.1f}" r="{radius}" fill="{color}" stroke="{PAPER}"/>'
        for (u, v), color in zip(points, COLORS, strict=True)
    ]
    return "".join(lines + dots)


def silhouette(points: np.ndarray, width: float, color: str = "#cdd9e5") -> str:
    """Return the outline of the hand, to be drawn behind its joints."""
    lines = [
        f'<line x1="{points[a, 0]:.1f}" y1="{points[a, 1]:.1f}" x2="{points[b, 0]:.1f}" y2="{points[b, 1]:.1f}"/>'
        for a, b in MSRA21.bones
    ]
    return f'<g stroke="{color}" stroke-width="{width}" stroke-linecap="round">{"".join(lines)}</g>'


def grid(x: float, y: float, weights: np.ndarray | None = None) -> str:
    """Return the grid of voting pixels; `weights` (GRID, GRID) in 0..1 color its cells."""
    side = GRID * CELL
    lines = "".join(
        f'<path d="M{x + i * CELL} {y}v{side}M{x} {y + i * CELL}h{side}" stroke="#d5dde5" stroke-width=".7"/>'
        for i in range(GRID + 1)
    )
    cells = ""
    if weights is not None:
        cells = "".join(
            f'<rect x="{x + j * CELL}" y="{y + i * CELL}" width="{CELL}" height="{CELL}" fill="{COLORS[JOINT]}" '
            f'opacity="{0.85 * weights[i, j]:.2f}"/>'
            for i, j in np.argwhere(weights > 0.06)
        )
    return lines + cells


def stack(x: float, number: int) -> list[str]:
    """Return the boxes of one stack: hourglass, joint graph reasoning and pixel to offset."""
    bow = f"{x + 18},62 {x + 52},96 {x + 86},62 {x + 86},158 {x + 52},124 {x + 18},158"
    return [
        box(x, 42, 296, 148, PANEL, "#d5dde5", 10),
        text(x + 148, 182, f"stack {number}", 12, SOFT),
        f'<polygon points="{bow}" fill="#dbe7f3" stroke="{BLUE}"/>',
        text(x + 52, 114, "hourglass", 11),
        arrow((x + 86, 110), (x + 104, 110)),
        box(x + 104, 74, 84, 72, "#fdf1e0", "#d08a2c"),
        *(text(x + 146, 98 + 16 * i, word, 12) for i, word in enumerate(("joint", "graph", "reasoning"))),
        arrow((x + 188, 110), (x + 206, 110)),
        box(x + 206, 74, 74, 72, "#e5f3e5", "#4b9a4b"),
        *(text(x + 243, 98 + 16 * i, word, 12) for i, word in enumerate(("pixel", "to", "offset"))),
    ]


def overview() -> list[str]:
    picture = hand(30, 76, 62)
    return [
        box(16, 66, 88, 88, "#e9eef3"),
        silhouette(picture, 8, "#8fa6bd"),
        text(60, 172, "depth patch", 12, SOFT),
        text(60, 187, "96 × 96", 12, SOFT),
        arrow((104, 110), (122, 110)),
        f'<polygon points="122,74 182,90 182,130 122,146" fill="#dbe7f3" stroke="{BLUE}"/>',
        text(152, 114, "stem", 12),
        text(152, 172, "96 → 24", 12, SOFT),
        *stack(202, 1),
        arrow((182, 110), (220, 110)),
        *stack(530, 2),
        arrow((482, 110), (513, 110)),
        arrow((531, 110), (548, 110)),
        arrow((192, 110), (192, 26), (522, 26), (522, 100)),
        f'<circle cx="522" cy="110" r="9" fill="{PAPER}" stroke="{INK}"/>',
        text(522, 115, "+", 15),
        text(357, 20, "stem features", 11, SOFT),
        arrow((810, 110), (860, 110)),
        text(836, 100, "votes", 11, SOFT),
        skeleton(hand(872, 54, 112), 3.6, 2.6),
        text(920, 187, "joints in mm, spread", 12, SOFT),
    ]


def explanation(x: float, y: float, *lines: str) -> list[str]:
    """Return the lines of text at the bottom of a panel."""
    return [text(x + 18, y + 264 + 25 * i, line, 13, INK, "start") for i, line in enumerate(lines)]


def reasoning(x: float, y: float) -> list[str]:
    """Return the panel about joint graph reasoning."""
    flat, graph = hand(x + 38, y + 62, 150), hand(x + 282, y + 62, 150)
    v, u = np.mgrid[:GRID, :GRID]
    center = (flat[JOINT] - [x + 16, y + 52]) / CELL - 0.5
    weights = np.exp(-((u - center[0]) ** 2 + (v - center[1]) ** 2) / 2.2)
    tip = graph[JOINT]
    return [
        box(x, y, 474, 368, PANEL, "#d5dde5", 10),
        text(x + 18, y + 30, "Joint graph reasoning", 15, INK, "start", 600),
        silhouette(flat, 19),
        grid(x + 16, y + 52, weights),
        silhouette(graph, 19),
        skeleton(graph),
        arrow((x + 16 + CELL * GRID, y + 78), (tip[0] - 12, tip[1] + 2), color=COLORS[JOINT], width=2.2),
        text(x + 236, y + 66, "1", 14, INK, weight=600),
        arrow(tuple(graph[JOINT - 1] + [16, -8]), tuple(graph[JOINT - 2] + [16, 2]), width=1.4),
        text(graph[JOINT - 1][0] + 26, graph[JOINT - 1][1] + 14, "2", 14, INK, weight=600),
        arrow((graph[0][0] - 40, y + 222), (x + 20 + CELL * GRID, y + 222), color=BLUE, width=2.2),
        text(x + 236, y + 212, "3", 14, INK, weight=600),
        *explanation(
            x,
            y,
            "<b>1</b>  Each joint collects the features of the pixels that belong to it.",
            "    Its weight map sums to one (here: the tip of the index finger).",
            "<b>2</b>  Joints that are connected by a bone exchange features.",
            "<b>3</b>  The same weights project the result back to the pixels.",
        ),
    ]


def offsets(x: float, y: float) -> list[str]:
    """Return the panel about votes."""
    flat = hand(x + 60, y + 62, 150)
    goal = flat[JOINT]
    drawn = []
    for du, dv in ((0, 1), (1, 2), (-1, 1), (1, 0), (-1, 3), (0, 4), (-3, 5), (-1, 7), (2, 3)):
        column, row = (int((goal[k] - (x + 38, y + 52)[k]) // CELL) + (du, dv)[k] for k in range(2))
        start = np.array([x + 38 + (column + 0.5) * CELL, y + 52 + (row + 0.5) * CELL])
        weight = math.exp(-(du**2 + dv**2) / 14)
        end = goal + (start - goal) * 0.1 + [3 * math.sin(5 * du + dv), 3 * math.cos(3 * dv + du)]
        drawn.append(
            f'<circle cx="{start[0]:.1f}" cy="{start[1]:.1f}" r="2.4" fill="{INK}" opacity="{0.3 + 0.7 * weight:.2f}"/>'
        )
        drawn.append(arrow(tuple(start), tuple(end), width=0.8 + 1.6 * weight, opacity=0.3 + 0.7 * weight))
    axis = (x + 240, y + 76)
    return [
        box(x, y, 474, 368, PANEL, "#d5dde5", 10),
        text(x + 18, y + 30, "Pixel to offset", 15, INK, "start", 600),
        silhouette(flat, 19),
        grid(x + 38, y + 52),
        f'<circle cx="{goal[0]:.1f}" cy="{goal[1]:.1f}" r="7" fill="{COLORS[JOINT]}" stroke="{PAPER}"/>',
        *drawn,
        text(*axis, "a pixel at u, v with depth z", 13, SOFT, "start"),
        text(axis[0], axis[1] + 22, "predicts Δu, Δv, Δz for each joint:", 13, SOFT, "start"),
        text(axis[0], axis[1] + 52, "vote = (u + Δu, v + Δv, z + Δz)", 13, INK, "start"),
        text(axis[0], axis[1] + 82, "joint = Σ weight · vote", 13, INK, "start"),
        text(axis[0], axis[1] + 112, "spread² = Σ weight · (vote − joint)²", 13, INK, "start"),
        *explanation(
            x,
            y,
            "Each of the 24 × 24 pixels predicts its offset to every joint, in the",
            "image and in depth. The same weights apply to these votes: pixels",
            "on a finger determine its joints; background pixels have no effect.",
            "The spread is the standard deviation of the votes.",
        ),
    ]


def drawing() -> str:
    """Return the whole picture as SVG."""
    parts = [*overview(), *reasoning(16, 206), *offsets(510, 206)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="system-ui, sans-serif"><title>JGR-P2O</title>{box(0, 0, WIDTH, HEIGHT, PAPER, PAPER, 0)}'
        + "\n".join(parts)
        + "</svg>\n"
    )


if __name__ == "__main__":
    (Path(__file__).parent / "images" / "network.svg").write_text(drawing(), encoding="utf-8")
