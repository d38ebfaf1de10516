"""Where the hand is: from a bare depth image to the centre of each hand's cube.

A hand is the far end of an arm. The nearest surfaces are followed from where their arm comes from (the
image's border, the body, or whatever end is not the hand) to their other end; there the hand is cut off
at the wrist, and its centre of mass is the centre. Everything runs on a coarse grid of a few thousand
cells, since a centre needs no more than a centimetre.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from handpose.camera import Camera
from handpose.errors import HandPoseError

NEAREST, FARTHEST = 100.0, 2000.0
"""Distances in mm between which hands are looked for."""

_GRID_HEIGHT = 120  # cells down the image: 4 to 7 mm each where hands are
_STEP = 45.0  # mm: neighbouring cells further apart in depth belong to different things
_SMALLEST, _LARGEST = 1_200.0, 30_000.0  # mm^2 of visible surface that a hand can have
_HAND = 190.0  # mm from fingertip to wrist of a large hand
_DOUBT = 300.0  # mm: how much nearer a doubtful thing must be to pass for the hand
_SMOOTH = 0.15  # share of cells on the outline, below which a thing is rounder than hands are
_MOST_SURFACES = 8
_NEAR_SLAB = 320.0  # mm: how deep behind its nearest point a hand and its forearm are followed
_ARM = 700.0  # mm: the same for an arm that comes from the camera's side


def localize_hands(depth: np.ndarray, camera: Camera, max_hands: int = 1) -> np.ndarray:
    """The centres of the hands in a depth image, nearest first.

    Args:
        depth: (H, W) mm, 0 = no reading.
        camera: of `depth`.
        max_hands: how many to look for; above 1, other things of a hand's size may be among them.

    Returns:
        (N, 3) xyz of the camera's frame in mm, N between 0 and `max_hands`.

    Raises:
        HandPoseError: `depth` is no image, or not of the camera's size.
    """
    if depth.ndim != 2:
        raise HandPoseError(f"depth must be (H, W) in mm, got {depth.shape}; read files with handpose.read_depth")
    grid = _Grid.of(depth, camera.for_image(depth.shape[1], depth.shape[0]))
    candidates: list[_Candidate] = []
    for near, surface in _surfaces(grid)[:_MOST_SURFACES]:
        if sum(candidate.distance < near for candidate in candidates) >= max_hands:
            break  # nothing on a farther surface can come before these
        candidates += _hands(grid, surface)
    centres: list[np.ndarray] = []
    for candidate in sorted(candidates, key=lambda candidate: candidate.distance):
        if centres and candidate.doubts:
            continue  # one thing may be taken for the hand on weak grounds, a second one not
        if len(centres) < max_hands and all(np.linalg.norm(candidate.center - c) > _HAND / 2 for c in centres):
            centres.append(candidate.center)
    return np.array(sorted(centres, key=lambda c: c[2])).reshape(-1, 3)


def center_in_box(depth: np.ndarray, camera: Camera, box: tuple[float, float, float, float]) -> np.ndarray | None:
    """The centre (3,) of the nearest surface inside `box` (x, y, width, height in px), or none if it is empty."""
    x, y, width, height = box
    if not (np.isfinite(box).all() and width > 0 and height > 0):
        raise HandPoseError(f"a box is x, y, width, height in px with a size above 0, got {box}")
    left, top = max(0, round(x)), max(0, round(y))
    window = depth[top : max(0, round(y + height)), left : max(0, round(x + width))]
    v, u = np.nonzero((window > NEAREST) & (window < 3 * FARTHEST))
    if len(u) == 0:
        return None
    z = window[v, u].astype(np.float64)
    # The hand fills a good part of its box and lies before what is behind it.
    hand = z < np.percentile(z, 5) + _HAND * 0.8
    points = camera.unproject(np.stack([u[hand] + left, v[hand] + top, z[hand]], axis=-1))
    return points.mean(axis=0)  # type: ignore[no-any-return]


def read_centers(path: str | Path, *, y_up: bool) -> np.ndarray:
    """Hand centres (N, 3) in mm, camera frame, from a text file with `x y z` per line, NaN where a line says `invalid`.

    This is the format of the refined centres that V2V-PoseNet published.

    Args:
        path: the file.
        y_up: the file's y axis points up, as in the NYU and MSRA files; ICVL's points down.

    Raises:
        HandPoseError: a line is neither three numbers nor `invalid`.
    """
    path = Path(path)
    centres = []
    try:
        lines = path.read_text(encoding="utf-8").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise HandPoseError(f"{path}: cannot read hand centres ({error})") from None
    for number, line in enumerate(lines, 1):
        words = line.split()
        if words and words[0].lower() == "invalid":
            centres.append([np.nan] * 3)
            continue
        try:
            x, y, z = (float(word) for word in words)
        except ValueError:
            raise HandPoseError(f"{path}, line {number}: expected x y z in mm or invalid, got {line[:60]!r}") from None
        centres.append([x, -y if y_up else y, z])
    return np.array(centres).reshape(-1, 3)


@dataclass(frozen=True)
class _Candidate:
    center: np.ndarray  # (3,) mm
    doubts: int  # how many things speak against it

    @property
    def distance(self) -> float:
        """How far it is, mm, and more for every doubt."""
        return float(self.center[2]) + _DOUBT * self.doubts


@dataclass(frozen=True)
class _Grid:
    """A coarse copy of the image: points and the area each cell stands for."""

    z: np.ndarray  # (h, w) mm, 0 = nothing here
    xyz: np.ndarray  # (h, w, 3) mm
    area: np.ndarray  # (h, w) mm^2
    inside: np.ndarray  # (h, w) uint8: part of some surface within reach

    @classmethod
    def of(cls, depth: np.ndarray, camera: Camera) -> _Grid:
        stride = max(1, round(min(depth.shape) / _GRID_HEIGHT))
        z = depth[stride // 2 :: stride, stride // 2 :: stride]
        z = np.where((z > NEAREST) & (z < FARTHEST), z, 0).astype(np.float32)
        v, u = np.indices(z.shape, dtype=np.float32) * stride + stride // 2
        x = (u - camera.cx) * z / camera.fx
        y = (v - camera.cy) * z / camera.fy
        # A cell much deeper than a neighbour lies behind an edge: taking it out parts the two surfaces.
        filled = np.where(z > 0, z, np.float32(2 * FARTHEST))
        before = cv2.erode(filled, np.ones((3, 3), np.uint8))
        inside = ((z > 0) & (z - before <= _STEP)).astype(np.uint8)
        return cls(z, np.stack([x, y, z], -1), z * z * (stride * stride / (camera.fx * camera.fy)), inside)


def _surfaces(grid: _Grid) -> list[tuple[float, np.ndarray]]:
    """Connected surfaces large enough to hold a hand: (nearest depth, mask), nearest first."""
    count, labels = cv2.connectedComponents(grid.inside, connectivity=8)
    if count == 1:
        return []
    areas = np.bincount(labels.ravel(), grid.area.ravel() * grid.inside.ravel(), count)
    areas[0] = 0.0
    found = []
    for label in np.flatnonzero(areas >= _SMALLEST):
        mask = labels == label
        found.append((float(np.percentile(grid.z[mask], 3)), mask))
    return sorted(found, key=lambda pair: pair[0])


def _hands(grid: _Grid, surface: np.ndarray) -> list[_Candidate]:
    """What may be a hand at the ends of one surface."""
    near = float(np.percentile(grid.z[surface], 1))
    nearest = surface & (grid.z <= near)
    # An arm that is nearest where it enters the image reaches away from the camera: its hand lies deeper.
    reach = _ARM if (nearest & _border(surface.shape)).any() else _NEAR_SLAB
    slab = surface & (grid.z < near + reach)
    _, labels = cv2.connectedComponents(slab.astype(np.uint8), connectivity=8)
    # Of the slab only the piece with the nearest point: the rest hangs together through the body.
    piece = labels == labels[nearest][0]
    ends = _ends(grid, piece, _roots(surface, piece))
    found = (_candidate(grid, surface, piece, _beyond_the_wrist(grid, piece, tip)) for tip in ends)
    return [candidate for candidate in found if candidate is not None]


def _roots(surface: np.ndarray, piece: np.ndarray) -> np.ndarray:
    """Cells through which an arm comes in: at the image's border, or where the piece goes on behind the slab."""
    behind: np.ndarray = cv2.dilate((surface & ~piece).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    roots: np.ndarray = piece & (_border(piece.shape) | behind)
    return roots


def _border(shape: tuple[int, ...]) -> np.ndarray:
    border = np.ones(shape, bool)
    border[2:-2, 2:-2] = False
    return border


def _walk(piece: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Steps (h, w) int32 within `piece` from `start`, -1 where it does not lead."""
    steps = np.full(piece.shape, -1, np.int32)
    allowed = piece.astype(np.uint8)
    reached: np.ndarray = (start & piece).astype(np.uint8)
    steps[reached > 0] = 0
    cross, square = np.ones((3, 3), np.uint8), np.ones((3, 3), np.uint8)
    cross[::2, ::2] = 0
    size, step = int(reached.sum()), 0
    while True:
        step += 1
        octagon = cross if step % 2 else square  # in turns: steps count nearly Euclidean distance
        grown: np.ndarray = np.bitwise_and(cv2.dilate(reached, octagon), allowed, dtype=np.uint8)
        grown_size = int(cv2.countNonZero(grown))
        if grown_size == size and step % 2 == 0:
            return steps
        if grown_size != size:
            steps[(grown > reached)] = step
        reached, size = grown, grown_size


def _ends(grid: _Grid, piece: np.ndarray, roots: np.ndarray) -> list[tuple[int, int]]:
    """Cells (row, column) at those ends of the piece that may be fingertips."""
    points = grid.xyz[piece]
    if not roots.any():
        extent = np.ptp(points, axis=0)
        if np.linalg.norm(extent) < 1.3 * _HAND:
            # A hand with no arm to speak of: any end does.
            return [_cell(grid.z, piece, np.where(piece, -grid.z, -np.inf))]
        first = _cell(
            grid.z, piece, _walk(piece, _only(piece, _cell(grid.z, piece, np.where(piece, -grid.z, -np.inf))))
        )
        steps = _walk(piece, _only(piece, first))
        second = _cell(grid.z, piece, steps)
        # Two ends and nothing that says where the arm comes from: the hand is the raggeder one, or the nearer.
        return [min(first, second, key=lambda end: grid.z[end] / 1500.0 - _outline(grid, piece, end))]
    steps = _walk(piece, roots)
    left = steps.copy()
    ends = []
    for _ in range(4):
        row, column = _cell(grid.z, piece, left)
        if left[row, column] <= 0.35 * steps.max():
            break
        distance = np.linalg.norm(grid.xyz - grid.xyz[row, column], axis=-1)
        if steps[piece & (distance < 0.3 * _HAND)].max() <= steps[row, column] + 1:  # else midway up an arm
            ends.append((row, column))
        left[distance < 1.2 * _HAND] = -1
    return ends


def _cell(z: np.ndarray, piece: np.ndarray, score: np.ndarray) -> tuple[int, int]:
    row, column = np.unravel_index(int(np.where(piece, score, -np.inf).argmax()), z.shape)
    return int(row), int(column)


def _only(piece: np.ndarray, cell: tuple[int, int]) -> np.ndarray:
    mask = np.zeros_like(piece)
    mask[cell] = True
    return mask


def _outline(grid: _Grid, piece: np.ndarray, end: tuple[int, int]) -> float:
    return _rim_share(piece, piece & (np.linalg.norm(grid.xyz - grid.xyz[end], axis=-1) < _HAND))


def _beyond_the_wrist(grid: _Grid, piece: np.ndarray, tip: tuple[int, int]) -> np.ndarray:
    """The cells of the piece between a fingertip and the wrist, found as the narrow place behind the palm."""
    distance = np.linalg.norm(grid.xyz - grid.xyz[tip], axis=-1)
    bins = 12
    width = _HAND / bins
    shells = np.minimum(distance[piece] / width, bins + 4).astype(int)
    area = np.convolve(np.bincount(shells, grid.area[piece], bins + 5)[:-1], [0.25, 0.5, 0.25], mode="same")
    palm = int(area[:9].argmax())  # farther from the tip the widest place is a sleeve
    cut = 0.9 * _HAND
    for shell in range(max(palm + 1, 5), bins + 3):
        if area[shell] < 0.62 * area[palm] and area[shell] <= area[shell + 1] * 1.02:
            cut = min(_HAND, (shell + 0.5) * width)
            break
    hand: np.ndarray = piece & (distance < cut)
    return hand


def _candidate(grid: _Grid, surface: np.ndarray, piece: np.ndarray, cells: np.ndarray) -> _Candidate | None:
    """The hand that `cells` of a piece of a surface would be: its centre of mass, if they can be a hand at all."""
    weights = grid.area[cells]
    area = float(weights.sum())
    if not _SMALLEST <= area <= _LARGEST:
        return None
    center = (grid.xyz[cells] * weights[:, None]).sum(0, dtype=np.float64) / area
    # A hand ends in the air on most sides; a patch of wall or chest goes on all around.
    distance = np.linalg.norm(grid.xyz - center.astype(np.float32), axis=-1)
    ring = float(grid.area[surface & (distance > 100.0) & (distance < 140.0)].sum()) / (np.pi * (140.0**2 - 100.0**2))
    if ring > 0.5:
        return None
    rim = _rim_share(piece, cells)
    shreds = rim > 0.6 and area / cells.sum() < 6.0**2  # on coarser cells all fingers are rim
    doubts = (area < 2_500.0, shreds, rim < _SMOOTH, ring > 0.2)  # an arm fills a tenth of the ring
    return _Candidate(center, sum(map(int, doubts)))


def _rim_share(piece: np.ndarray, cells: np.ndarray) -> float:
    """Share of cells on the piece's outline: spread fingers 0.5, elbows 0.25, shreds of a chair 0.8."""
    inner = cv2.erode(piece.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    return float((cells & ~inner).sum() / max(1, cells.sum()))
