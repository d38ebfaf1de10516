"""Checks whether the intrinsics of a camera are plausible; the result is cached for each camera."""

from __future__ import annotations

import math
from functools import lru_cache

from handpose.geometry.camera import Camera
from handpose.results.pose import PoseWarning

MAX_FIELD_OF_VIEW = 120.0
"""Largest field of view of common depth cameras along the longer side of the image, in degrees."""

_MIN_FIELD_OF_VIEW = 25.0  # degrees, likewise
_MIN_CROPPED_FROM = 320  # px: smaller images may be crops, which have a narrow field of view
_MAX_OFF_CENTER = 0.2  # of the image size, from its center to the principal point
_CENTERED = 0.05  # of the image size: the principal point of most cameras is this close to the image center
_STREAMS = (
    (640, 480),
    (848, 480),
    (1280, 720),
    (1280, 800),
    (1024, 768),
    (640, 576),
    (640, 400),
    (640, 360),
    (512, 424),
)
_FITS = 0.02  # of the size of a stream, from its center to a principal point that fits it
_OTHER_SCALE = 1.4  # ratio of image sizes above which the camera is that of another resolution
_MAX_ASPECT = 1.1  # ratio of fx and fy
_ADVICE = "; pass the intrinsics of this stream"


@lru_cache(maxsize=256)
def camera_warnings(given: Camera | None, camera: Camera) -> tuple[PoseWarning, ...]:
    """Return what is implausible about a camera.

    Args:
        given: The camera that the caller passed. If it has an image size, a shifted principal point and a narrow field
            of view are intended, as in a crop.
        camera: The camera of the image.
    """
    size = f"{camera.width:g} x {camera.height:g}"
    if given is None or _is_assumed(camera):
        text = (
            f"no camera given: assuming a field of view of 67 degrees for this {size} image, so positions are "
            "approximate; pass the camera's fx, fy, cx, cy"
        )
        return (PoseWarning("camera_assumed", text),)
    found = []
    if not 1 / _MAX_ASPECT < camera.fx / camera.fy < _MAX_ASPECT:
        text = (
            f"fx {camera.fx:g} and fy {camera.fy:g} differ, but pixels are usually square; the order is fx, fy, cx, cy"
        )
        found.append(PoseWarning("focal_lengths", text))
    if reason := _principal_point(camera, sized=bool(given.width)):
        text = (
            f"the principal point {camera.cx:.0f}, {camera.cy:.0f} is far from the center of this {size} image{reason}"
        )
        found.append(PoseWarning("principal_point", text))
    view = field_of_view(camera)
    narrow = view < _MIN_FIELD_OF_VIEW and not given.width and max(camera.width, camera.height) >= _MIN_CROPPED_FROM
    if narrow or view > MAX_FIELD_OF_VIEW:
        text = f"a field of view of {view:.0f} degrees is unusual; fx and fy must be in pixels of this stream"
        found.append(PoseWarning("field_of_view", text))
    if camera.distortion is not None and camera.distortion.model == "inverse_brown_conrady":
        text = (
            "the lens model inverse_brown_conrady is used as documented (SR300, SR305); if the depth images were "
            "aligned to the color camera of a D400, its coefficients are those of brown_conrady: change the model"
        )
        found.append(PoseWarning("lens_model", text))
    return tuple(found)


def _is_assumed(camera: Camera) -> bool:
    """Return whether a camera is the one that is assumed for its image, as frames of a folder have it."""
    return bool(camera.width) and camera == Camera.assumed(int(camera.width), int(camera.height))


def field_of_view(camera: Camera) -> float:
    """Return the field of view along the longer side of the image, in degrees."""
    return math.degrees(2 * math.atan(max(camera.width / camera.fx, camera.height / camera.fy) / 2))


def _principal_point(camera: Camera, *, sized: bool) -> str:
    """Return why the principal point is implausible, as the continuation of a sentence.

    The text is empty if the point is plausible.
    """
    if camera.cx == camera.cy == 0.0:  # the default of many programs
        return ", as if it were missing; pass the intrinsics of this stream"
    off = _off_center(camera, camera.width, camera.height)
    if not sized and off > 2 * _CENTERED and _off_center(camera, camera.height, camera.width) < _CENTERED:
        focal = f"{camera.fy:g},{camera.fx:g}"
        left = f"{focal},{camera.cy:g},{camera.height - 1 - camera.cx:g}"
        right = f"{focal},{camera.width - 1 - camera.cy:g},{camera.cx:g}"
        return (
            ", but fits it before a rotation by 90 degrees, which swaps fx with fy and cx with cy; pass fx,fy,cx,cy = "
            f"{left} if it was rotated counterclockwise, or {right} if clockwise"
        )
    across, down = 2 * camera.cx / camera.width, 2 * camera.cy / camera.height
    same_shape = max(across, down) < _MAX_ASPECT * min(across, down)
    if off > _MAX_OFF_CENTER and same_shape and not 1 / _OTHER_SCALE < across < _OTHER_SCALE:
        return (
            f" but fits one of about {2 * camera.cx:.0f} x {2 * camera.cy:.0f}, so the camera must be scaled{_ADVICE}"
        )
    if not sized and off > _CENTERED:  # as that of the color images, which often have another shape
        for width, height in _STREAMS:
            if _off_center(camera, width, height) < _FITS:
                return f" but fits a stream of {width} x {height}; a crop shifts cx and cy{_ADVICE}"
    return (
        ""
        if sized or off <= _MAX_OFF_CENTER
        else f"; a crop shifts cx and cy, and their order is fx, fy, cx, cy{_ADVICE}"
    )


def _off_center(camera: Camera, width: float, height: float) -> float:
    """Return how far the principal point is from the center of an image, relative to the size of the image."""
    return max(abs(camera.cx / width - 0.5), abs(camera.cy / height - 0.5))
