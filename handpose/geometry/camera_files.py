"""Reads the intrinsics of a camera from files and objects of other programs.

It recognizes the names that RealSense, Open3D, ROS, OpenCV and Kalibr use, at the top level or in a section. Case and
underscores are ignored. Ambiguous input is rejected.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from handpose.errors import HandPoseError, brief
from handpose.geometry.distortion import COEFFICIENTS, Distortion
from handpose.geometry.lens_names import lens_model
from handpose.io.text import MAX_SETTINGS_BYTES, read_text

SUFFIXES = (".json", ".yaml", ".yml", ".txt")
"""Extensions of camera files."""

_PRINCIPAL = (("cx", "cy"), ("ppx", "ppy"))
_MATRICES = ("k", "camk", "cameramatrix", "intrinsicmatrix", "intrinsics", "intrinsic", "cameraintrinsics")
_SIZES = (("width", "height"), ("w", "h"), ("imagewidth", "imageheight"))
_SIZE_LISTS = ("resolution", "imagesize")
_LENSES = re.compile(r"d|coef+(icient)?s|(lens)?dist(o|or[st]ions?)?(coef+(icient)?s?|param(eter)?s?|vector)?")
_OTHER_LENSES = re.compile(r"(?!undist).*distor[st].*")
_LENS_MODELS = ("distortionmodel", "distortiontype", "lensmodel", "model", "cameramodel")
_RADIAL = tuple(f"k{i}" for i in range(1, 7))
_MAX_DEPTH = 4  # of nested sections
_ATTRIBUTES = (
    "fx",
    "fy",
    "cx",
    "cy",
    "ppx",
    "ppy",
    "intrinsic_matrix",
    "width",
    "height",
    "model",
    "coeffs",
    *_RADIAL,
    "p1",
    "p2",
)

Intrinsics = tuple[float, float, float, float, float, float, Distortion | None]
"""The arguments of `Camera`: intrinsics in px, image size (0 if unknown), and distortion of the lens."""


def read_intrinsics(path: Path) -> Intrinsics:
    """Read the camera in a JSON, YAML or text file.

    Raises:
        HandPoseError: the file cannot be read, or does not contain exactly one camera.
    """
    content = read_text(path, MAX_SETTINGS_BYTES)
    try:
        return intrinsics_of(_PARSERS[path.suffix.lower()](content))
    except (HandPoseError, RecursionError) as error:
        raise HandPoseError(f"{path}: {error}") from None


def intrinsics_of(values: object) -> Intrinsics:
    """Return the only camera in a dictionary, a matrix, a list of numbers or an object of a camera's SDK.

    Raises:
        HandPoseError: it does not contain exactly one camera.
    """
    if not isinstance(values, (Mapping, Sequence, np.ndarray)):
        values = _attributes(values) or values
    if not isinstance(values, Mapping):
        return (*_four(values), 0, 0, None)
    found: dict[Intrinsics, str] = {}
    for name, camera in _search(values, {}, ""):
        found.setdefault(camera, name)
    if len(found) > 1:
        raise HandPoseError(
            f"contains several cameras: {', '.join(found.values())}; keep only that of the depth image (if depth was "
            "aligned to color, that of the color camera)"
        )
    if not found:
        raise HandPoseError(
            "expected the intrinsics fx, fy, cx, cy (or ppx, ppy), or a 3 x 3 matrix K; found "
            f"{', '.join(map(str, values))[:200] or 'nothing'}"
        )
    return next(iter(found))


def distortion_of(lens: object) -> Distortion | None:
    """Return the distortion in an object of a camera's SDK, or None if all its coefficients are 0.

    Raises:
        HandPoseError: its model is not supported.
    """
    return _lens(_attributes(lens))


def _attributes(values: object) -> dict[str, Any]:
    return {name: getattr(values, name) for name in _ATTRIBUTES if hasattr(values, name)}


def _search(values: Mapping[Any, Any], scope: dict[str, Any], name: str) -> Iterator[tuple[str, Intrinsics]]:
    """Yield the cameras of a section and their names; sections inherit the size and the lens of those around them."""
    own = _plain(values)
    scope = scope | own
    cameras = {_four([own["fx"], own["fy"], own[x], own[y]]) for x, y in _PRINCIPAL if {"fx", "fy", x, y} <= own.keys()}
    for key in _MATRICES:
        matrix = own.get(key)
        if isinstance(matrix, Mapping):
            matrix = matrix.get("data")
        if matrix is not None:
            cameras.add(_four(matrix))
    for camera in cameras:
        yield name or "the top level", _complete(camera, own, scope)
    if not cameras and name.count(".") < _MAX_DEPTH:
        for key, value in values.items():
            if isinstance(value, Mapping):
                yield from _search(value, scope, f"{name}.{key}" if name else str(key))


def _plain(values: Mapping[Any, Any]) -> dict[str, Any]:
    """Return values by their names in lower case, without underscores and other punctuation."""
    return {re.sub("[^a-z0-9]", "", str(key).lower()): value for key, value in values.items()}


def _complete(camera: tuple[float, float, float, float], own: dict[str, Any], scope: dict[str, Any]) -> Intrinsics:
    """Add the size and the lens to fx, fy, cx, cy."""
    fx, fy, cx, cy = camera
    width, height = _size(scope)
    if max(fx, fy) < 10 and 0 < cx < 1 and 0 < cy < 1:
        raise HandPoseError(
            f"fx {fx:g}, fy {fy:g}, cx {cx:g}, cy {cy:g} seem to be relative to the image size; multiply fx and cx by "
            "the width, fy and cy by the height"
        )
    window = own.get("roi")
    if isinstance(window, Mapping) and _number(window.get("width", 0)) and _number(window.get("height", 0)):
        # In ROS, K applies to the full image, of which only this window is published.
        x, y, width, height = (_number(window.get(key, 0)) for key in ("x_offset", "y_offset", "width", "height"))
        cx, cy = cx - x, cy - y
    return fx, fy, cx, cy, width, height, _lens(scope)


def _size(scope: dict[str, Any]) -> tuple[float, float]:
    sizes = [[scope[width], scope[height]] for width, height in _SIZES if width in scope and height in scope]
    sizes += [scope[key] for key in _SIZE_LISTS if key in scope]
    numbers = _numbers(sizes[0]) if sizes else [0.0, 0.0]
    if len(numbers) != 2:
        raise HandPoseError(f"expected width and height, got {brief(sizes[0])}")
    return numbers[0], numbers[1]


def _lens(scope: dict[str, Any]) -> Distortion | None:
    """Return the distortion, or None if all coefficients are 0."""
    given = next((value for key, value in scope.items() if value is not None and _LENSES.fullmatch(key)), None)
    # OpenCV's calibration program states its fisheye model only by this flag.
    unnamed = "fisheye" if scope.get("fisheyemodel") == 1 else "opencv"
    name = next((str(scope[key]) for key in _LENS_MODELS if scope.get(key) is not None), unnamed)
    if isinstance(given, Mapping):
        own = _plain(given)
        if not own.keys() & set(_LENS_MODELS):
            own["model"] = name
        if "data" in own:
            own["coefficients"] = own.pop("data")
        return _lens(own)
    model = lens_model(name)
    numbers = _named_coefficients(scope, model) if given is None else _numbers(given)
    if not any(numbers) or model == "none":
        return None
    if model is None:
        raise HandPoseError(
            f"the lens model {name} is not supported (known are plumb_bob, rational_polynomial, equidistant, and "
            "RealSense's brown_conrady, inverse_brown_conrady and kannala_brandt4); rectify the depth images first"
        )
    count = next((count for count in COEFFICIENTS[model] if not any(numbers[count:])), len(numbers))
    return Distortion(model, tuple(numbers[:count]))


def _named_coefficients(scope: dict[str, Any], model: str | None) -> list[float]:
    """Return the coefficients k1, k2, p1, ..., in the order of the lens model; those that are missing are 0."""
    others = [key for key, value in scope.items() if isinstance(value, list) and _OTHER_LENSES.fullmatch(key)]
    if any(any(_numbers(scope[key])) for key in others):  # without them, the joints would be wrong
        raise HandPoseError(
            f"the coefficients of the lens in {' and '.join(others)} are not recognized; pass them as "
            "distortion_coefficients, in the order k1, k2, p1, p2, k3"
        )
    radial, tangential = ([_number(scope.get(key, 0)) for key in keys] for keys in (_RADIAL, ("p1", "p2")))
    return radial if model == "kannala_brandt" else [*radial[:2], *tangential, *radial[2:]]


def _four(values: object) -> tuple[float, float, float, float]:
    """Return fx, fy, cx, cy of a list of these, or of a matrix in row-major or column-major order."""
    numbers = np.array(_numbers(values))
    if numbers.size == 4:
        return tuple(numbers.tolist())
    if numbers.size == 12:  # a projection matrix 3 x 4, as ROS publishes it for rectified images
        projection = numbers.reshape(3, 4)
        if projection[:, 3].any():
            raise HandPoseError(
                "the projection matrix has an offset in its fourth column, as that of the right camera of a stereo "
                "pair; pass the matrix of the camera of the depth image"
            )
        numbers = projection[:, :3].ravel()
    side = {9: 3, 16: 4}.get(numbers.size)
    if side is not None:
        matrix = numbers.reshape(side, side)
        for k in (matrix, matrix.T):
            if k[0, 0] > 0 and k[1, 1] > 0 and not k[1, 0] and not k[2, :2].any() and k[2, 2] == 1:
                if k[0, 1]:
                    raise HandPoseError(f"a camera with skew ({k[0, 1]:g}) is not supported")
                return float(k[0, 0]), float(k[1, 1]), float(k[0, 2]), float(k[1, 2])
    raise HandPoseError(
        "expected fx, fy, cx, cy or the 3 x 3 matrix of a calibrated camera (fx 0 cx, 0 fy cy, 0 0 1), got "
        f"{brief(values)}"
    )


def _numbers(values: object) -> list[float]:
    """Return the numbers of a list, nested list or array."""
    return [_number(value) for value in np.array(values, dtype=object).ravel().tolist()]


def _number(value: object) -> float:
    try:
        if not isinstance(value, bool):
            return float(value)  # type: ignore[arg-type] # text may be a number: YAML reads 1e-05 as text
    except (TypeError, ValueError, OverflowError):
        pass
    raise HandPoseError(f"expected a number, got {brief(value)}")


class _Loader(yaml.SafeLoader):  # type: ignore[misc] # yaml has no types
    """Loads YAML without aliases, whose expansion has no bound, and with the tag of OpenCV's matrices."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not supported")
        return super().compose_node(parent, index)


_Loader.add_constructor("tag:yaml.org,2002:opencv-matrix", yaml.SafeLoader.construct_yaml_map)


def _parse_json(content: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise HandPoseError(f"not JSON ({error})") from None


def _parse_yaml(content: str) -> Any:
    # OpenCV writes "%YAML:1.0", which is no YAML. A recorded topic has one document per message.
    text = re.sub(r"\A%YAML:.*", "", content)
    try:
        return next((document for document in yaml.load_all(text, _Loader) if document is not None), None)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise HandPoseError(f"not YAML ({' '.join(str(error).split())[:100]})") from None


def _parse_text(content: str) -> list[str]:
    return re.split(r"[\s,;\[\]]+", content.strip(" \t\r\n,;[]"))


_PARSERS = {".json": _parse_json, ".yaml": _parse_yaml, ".yml": _parse_yaml, ".txt": _parse_text}
