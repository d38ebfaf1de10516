"""Extreme inputs of a prediction, and their expected results."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from handpose import Camera, HandPose, HandPoseError, HandPoseEstimator, read_depth
from handpose.io.warn import InputWarning
from handpose.runtimes.base import Runtime
from tests.helpers.paths import EXAMPLES

CAMERA = Camera.parse(str(EXAMPLES / "camera.json"))
DEPTH = read_depth(EXAMPLES / "open.png")
SIZE = DEPTH.shape


class Case(NamedTuple):
    """An input and the expected result: `ok`, `no_hand`, `same`, or a regular expression of the error message."""

    fault: str
    depth: Callable[[], Any]
    arguments: dict[str, Any]
    expected: str


def only(v: int, u: int, mm: float = 500.0) -> np.ndarray:
    depth = np.zeros(SIZE, np.float32)
    depth[v, u] = mm
    return depth


def within(side: int) -> np.ndarray:
    depth = np.zeros((side, side), np.float32)
    depth[4000:4480, 4000:4640] = DEPTH
    return depth


def cases() -> list[Case]:
    """Return all cases; by default they use the camera and the image of an example."""
    listed: list[Case] = []

    def add(fault: str, expected: str, depth: Any = DEPTH, **arguments: Any) -> None:
        listed.append(
            Case(fault, depth if callable(depth) else lambda: depth, {"camera": CAMERA} | arguments, expected)
        )

    middle = {"center": [0.0, 0.0, 500.0]}
    for value in (0.0, np.nan, np.inf, -np.inf, -500.0, 1e-30, 3e38):
        for where in ({}, middle, {"box": (0, 0, 640, 480)}):
            add("a constant invalid image", "no_hand", np.full(SIZE, value, np.float32), **where)
    for place in ((240, 320), (0, 0), (479, 639)):
        add("a hand of one pixel", "no_hand", only(*place))
    add("a hand of one pixel", "no_hand", only(240, 320), center=[200.0, 0.0, 500.0])
    add("a hand of one pixel", "ok|no_hand", only(243, 314), **middle)  # the caller knows that it is a hand
    for shift in ((0, 200), (0, -250), (150, 0), (-330, 0)):
        rolled = np.roll(DEPTH, shift, (0, 1))
        add("a hand cut off by the border", "ok|no_hand", rolled)
    for center in ([5000, 0, 500], [-5000, 0, 500], [0, 5000, 500], [0, 0, 3000], [1e6, 1e6, 1e6], [0, 0, 1]):
        add("a cube outside the image", "no_hand", center=center)
    for center in (
        [0, 0, 0],
        [0, 0, -1],
        [0, 0, 1e-9],
        [0, 0, np.nan],
        [np.inf, 0, 500],
        [0, 1e300, 500],
        [0, 0, 1e300],
    ):
        add("invalid centers", "hand center must", center=center)
    for center in ("abc", [1, 2], [[1, 2, 3], [4, 5, 6]], {}, [10**400, 0, 500]):
        add("invalid centers", "expected numbers|center must be", center=center)
    for box in (
        (0, 0, 0, 0),
        (0, 0, -5, 5),
        (np.nan, 0, 5, 5),
        (0, 0, np.inf, 5),
        (1e308, 0, 1e308, 5),
        (1, 2, 3),
        ("a", 0, 1, 1),
        5,
    ):
        add("invalid boxes", "a box is|box must be|expected numbers", box=box)
    for box in ((-500, -500, 50, 50), (1e8, 1e8, 5, 5), (0, 0, 0.2, 0.2)):
        add("a box outside the image", "no_hand", box=box)
    for dtype in ("f2", "f8", ">f4", ">f8", "u2", ">u2", "i2", "i4", "u4", "i8", "u8", "g"):
        add("arrays of other types", "same", lambda dtype=dtype: np.rint(DEPTH).astype(dtype))
    layouts: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
        np.asfortranarray,
        lambda depth: depth[::-1].copy()[::-1],
        lambda depth: np.repeat(depth, 2, 1)[:, ::2],
        lambda depth: np.broadcast_to(depth, SIZE),
        lambda depth: np.ma.masked_equal(np.where(depth == 0, np.float32(400), depth), 400),
    )
    for layout in layouts:
        add("arrays of other layouts", "same", lambda layout=layout: layout(np.rint(DEPTH)))
    for dtype in ("u1", "i1", "?", "c8", "O", "M8[s]", "S3", "U5"):
        add("arrays without depth", "depth must be", lambda dtype=dtype: DEPTH.astype(dtype))
    for array in (np.zeros(7), np.zeros((0, 5)), np.zeros((2, 3, 4)), np.float32(5)):
        add("arrays without depth", "depth must be", array)
    one = Camera(476.0, 476.0, 0.0, 0.0)
    for shape in ((1, 1), (1, 5000), (5000, 1), (2, 3)):
        add("frames of odd sizes", "ok|no_hand", np.full(shape, 500.0), camera=one)
    add("frames of odd sizes", "ok|no_hand", np.full((1, 1), 500.0), camera=one, **middle)
    shifted = Camera(CAMERA.fx, CAMERA.fy, CAMERA.cx + 4000, CAMERA.cy + 4000)
    center = [0.0, 0.0, float(np.median(DEPTH[DEPTH > 0]))]
    add("frames of 5,000 x 5,000", "too wide a field of view", lambda: within(5_000), camera=shifted)
    add("frames of 5,000 x 5,000", "ok|no_hand", lambda: within(5_000), camera=shifted, center=center)
    add("frames of 5,000 x 5,000", "no_hand", lambda: within(5_000), camera=Camera(8e3, 8e3, 2.5e3, 2.5e3))
    for focal in (1e-9, 1e-3, 1.0, 50.0):
        add("implausible focal lengths", "too wide a field of view", camera=Camera(focal, focal, 320, 240))
        add("implausible focal lengths", "ok|no_hand", camera=Camera(focal, focal, 320, 240), **middle)
    for focal in (1e4, 1e9):
        add("implausible focal lengths", "no_hand", camera=Camera(focal, focal, 320, 240))
    for off in (1e9, -1e9):
        add("implausible principal points", "no_hand|hand center must", camera=Camera(476, 476, off, off))
        add(
            "implausible principal points",
            "no_hand|hand center must",
            camera=Camera(476, 476, off, off),
            **middle,
        )
    for unit in (0, -1, np.nan, np.inf, 1e300, 1e-300, 10**400, "cm", None, True):
        add("invalid units", "unit must be", unit=unit)
    return listed


CASES = cases()


class Still(Runtime):
    """A runtime that gives the same joints for everything."""

    def __init__(self, number: float = 0.5) -> None:
        self.number = number

    def pose(self, patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        joints = np.full((len(patches), 21, 3), self.number, np.float32)
        return joints, np.ones_like(joints)


def outcome(estimator: HandPoseEstimator, case: Case, same: HandPose | None) -> str:
    """Return how the result of a case differs from the expected one; an empty string if it does not."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", InputWarning)
        try:
            pose = estimator.predict(case.depth(), **case.arguments)
        except HandPoseError as error:
            return "" if re.search(case.expected, str(error)) and "\n" not in str(error) else str(error)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    for array in (pose.xyz, pose.uvz, pose.spread, pose.center):
        if not (np.isfinite(array) if pose.status != "no_hand" else np.isnan(array)).all():
            return f"{pose.status} with {array}"
    if case.expected == "same":
        return "" if same and np.allclose(pose.xyz, same.xyz, atol=0.01) else f"other joints: {pose.xyz}"
    status = "ok" if pose.status == "low_confidence" else pose.status
    return "" if status in case.expected.split("|") else f"got {status}, expected {case.expected}"
