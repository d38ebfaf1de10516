"""The estimator: from a depth image to the pose of its hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import repeat
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar, get_args, overload

import numpy as np

from handpose.errors import HandPoseError, WeightsError, brief
from handpose.geometry.camera import CameraLike
from handpose.inference.candidates import Candidates
from handpose.inference.query import Box, DepthImage, Query
from handpose.inference.stages import StagedEstimator
from handpose.io.arguments import check_choice, check_count, check_kind
from handpose.io.choices import DEFAULT_HAND, BackendName, HandOrAuto, OnError, Precision, Views
from handpose.io.depth.units import DepthUnit
from handpose.io.warn import Note, collect_warnings, warn_skipped
from handpose.results.pose import HandPose
from handpose.runtimes.select import GRAPH_SUFFIXES, load_graph, load_runtime
from handpose.weights.folder import Weights, file_sha256
from handpose.weights.publish import publish_copy
from handpose.weights.resolve import find_weights, reject_revision

Center = Sequence[float] | np.ndarray
_Result = TypeVar("_Result")


class HandPoseEstimator(StagedEstimator):
    """Localizes hands in depth images and predicts their joints. Create one with `from_pretrained`.

    Attributes:
        config: Dimensions and scales of the network.
        name: Name of the weights.
        sha256: SHA-256 of the weights file, or empty.
        views: Number of rotated copies of each crop that predictions are averaged over.
    """

    _weights: Weights | None = None  # None after loading an exported file

    @classmethod
    def from_pretrained(
        cls,
        name: str | PathLike[str] = "msra",
        *,
        device: str = "auto",
        backend: BackendName = "auto",
        precision: Precision = "float32",
        views: Views = 1,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        token: str | None = None,
    ) -> HandPoseEstimator:
        """Load an estimator.

        Args:
            name: A name that `handpose models` lists, a folder with `config.json` and `model.safetensors`, a file
                written by `handpose export`, or `owner/repo[@revision]` on the Hugging Face Hub.
            device: `auto`, `cpu`, `cuda`, `cuda:1`, ...
            backend: `torch`, `onnxruntime`, `openvino`, or `auto` for the fastest installed one.
            precision: `float32`, or `int8`, which is faster and slightly less accurate (ONNX Runtime and OpenVINO).
            views: Rotated copies of each crop to average over: 1, 2 or 4. More are slower but more accurate.
            revision: Branch, tag or commit on the Hub; files and folders have none.
            cache_dir: Folder for files from the Hub.
            local_files_only: Never download anything.
            token: Access token for private repositories on the Hub.

        Raises:
            WeightsError: the weights do not exist, or cannot be downloaded or trusted.
            HandPoseError: the backend or the device is not available.
        """
        check_kind("name", name, (str, PathLike), "a name of weights, a folder or a file")
        if (file := Path(name)).suffix.lower() in GRAPH_SUFFIXES:
            reject_revision(file, revision)
            runtime, config, label, heads = load_graph(file, backend, device, precision)
            return cls(runtime, config, label, file_sha256(file), views, heads=heads)
        weights = find_weights(
            name if isinstance(name, str) else Path(name),
            revision=revision,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            token=token,
        )
        runtime = load_runtime(weights, backend, device, precision)
        name = weights.name if precision == "float32" else f"{weights.name}-{precision}"
        estimator = cls(runtime, weights.config, name, weights.sha256, views, heads=weights.heads())
        estimator._weights = weights
        return estimator

    def save_pretrained(self, folder: str | Path, *, force: bool = False) -> None:
        """Write the weights to a folder, from which `from_pretrained` loads the same estimator.

        The model card `README.md` is copied if the weights have one.

        Args:
            folder: Model folder to write.
            force: Whether a model in an existing folder may be replaced.

        Raises:
            HandPoseError: The folder contains a model and `force` is not set, or the folder cannot be written
                (`WeightsError`).
            WeightsError: The estimator was loaded from an exported file.
        """
        _weights_of(self._weights, self.name).save(Path(folder), force=force)

    def push_to_hub(self, repo_id: str, *, card: str | Path | None = None) -> str:
        """Upload the weights to the Hugging Face Hub, and return the commit.

        Args:
            repo_id: `owner/repo`; created if it does not exist.
            card: Path of the model card, which must specify a license; by default the one that belongs to the weights.

        Raises:
            WeightsError: The model card is missing or specifies no license, the Hub rejects the upload, or the
                estimator was loaded from an exported file.
        """
        return publish_copy(_weights_of(self._weights, self.name), repo_id, card)

    # fmt: off
    @overload
    def predict(
        self, image: DepthImage, *, camera: CameraLike | None = None, center: Center | None = None,
        box: Box | None = None, hand: HandOrAuto = DEFAULT_HAND, unit: DepthUnit = "mm",
    ) -> HandPose: ...

    @overload
    def predict(
        self, image: list[DepthImage], *, camera: CameraLike | None = None, center: Center | None = None,
        box: Box | None = None, hand: HandOrAuto = DEFAULT_HAND, unit: DepthUnit = "mm", on_error: OnError = "raise",
    ) -> list[HandPose]: ...
    # fmt: on

    def predict(
        self,
        image: DepthImage | list[DepthImage],
        *,
        camera: CameraLike | None = None,
        center: Center | None = None,
        box: Box | None = None,
        hand: HandOrAuto = DEFAULT_HAND,
        unit: DepthUnit = "mm",
        on_error: OnError = "raise",
    ) -> HandPose | list[HandPose]:
        """Return the pose of the hand in a depth image, or a list of poses for a list of images.

        Args:
            image: A depth file, an array (H, W), or a list of these.
            camera: Intrinsics of the images: a `Camera`, a name or file as for `handpose predict`, a 3 x 3 matrix,
                `(fx, fy, cx, cy)`, or the intrinsics object of a camera's SDK. Without them, a usual field of view is
                assumed, with a warning.
            center: (3,) hand center in mm, camera frame, or (N, 3) for a list of N images; NaN for an image without a
                hand. By default, the hand is localized in the image.
            box: x, y, width and height in px of a box around the hand, instead of `center`.
            hand: Which hand the images show: `right`, `left`, or `auto` to predict it. If you know the side, specify
                it: it is certain, saves the network's pass over the mirror image of each crop, and selects one of two
                visible hands.
            unit: Unit of the images' values: `mm`, `m`, mm per unit, `nyu` or `ho3d`.
            on_error: Only for a list: `skip` leaves out images that cannot be read or predicted, with a warning for
                each. `source` then identifies the images of the poses.

        Raises:
            HandPoseError: an argument is invalid, or an image cannot be read (`DepthReadError`).
            DeviceMemoryError: the device has no memory for a single crop.

        Warns:
            AssumedCameraWarning: no camera was given.
            DepthUnitWarning: the unit is implausible.
            InputWarning: something else is implausible, see `HandPose.warnings`; base of the other two.
            SkippedFrameWarning: an image was left out.
        """
        if isinstance(image, list):
            return self.predict_batch(
                image, camera=camera, center=center, box=box, hand=hand, unit=unit, on_error=on_error
            )
        if on_error != "raise":
            raise HandPoseError(f"on_error={brief(on_error)} requires a list of images; a single one has no others")
        return self.predict_batch([image], camera=camera, center=center, box=box, hand=hand, unit=unit)[0]

    __call__ = predict

    def __repr__(self) -> str:
        return f"HandPoseEstimator({self.name}, {len(self.layout)} joints)"

    def predict_batch(
        self,
        images: Sequence[DepthImage],
        *,
        camera: CameraLike | None = None,
        center: Center | None = None,
        box: Box | None = None,
        hand: HandOrAuto = DEFAULT_HAND,
        unit: DepthUnit = "mm",
        on_error: OnError = "raise",
    ) -> list[HandPose]:
        """Return the poses of several images, predicted in one batch. See `predict` for the arguments and errors."""
        count = _check_images(images, "a list of depth files or arrays; use `stream` for an iterator", len)
        queries = Query(camera, center, box, hand, unit).per_image(count)
        return self.poses(list(_find_each(self, images, queries, on_error)))

    def predict_hands(
        self,
        image: DepthImage,
        *,
        max_hands: int = 2,
        camera: CameraLike | None = None,
        hand: HandOrAuto = DEFAULT_HAND,
        unit: DepthUnit = "mm",
    ) -> list[HandPose]:
        """Return the poses of up to `max_hands` hands in one image, nearest first, predicted in one batch.

        With `hand="auto"`, the sides of hands that may belong to one person are chosen together: hands that touch are
        never both right or both left. See `predict` for the other arguments and the errors.
        """
        check_count("max_hands", max_hands)
        query = Query(camera, hand=hand, unit=unit)
        depth, notes = _load(image, query)
        hands = self.find_hands(depth, query, max_hands, source=_source(image))
        hands[0] = replace(hands[0], notes=notes)
        return [pose for pose in self.hands([hands])[0] if pose.status != "no_hand"]

    def stream(
        self,
        images: Iterable[DepthImage],
        *,
        camera: CameraLike | None = None,
        hand: HandOrAuto = DEFAULT_HAND,
        unit: DepthUnit = "mm",
        on_error: OnError = "raise",
    ) -> Iterator[HandPose]:
        """Yield the poses of images one at a time, in constant memory. See `predict` for the arguments and errors.

        Images are independent. For the frames of a camera, `HandTracker` is faster, and tells right hands from left
        ones more reliably.
        """
        for found in _find_each(self, images, repeat(Query(camera, hand=hand, unit=unit)), on_error):
            yield from self.poses([found])


def _weights_of(weights: Weights | None, name: str) -> Weights:
    """Return the weights of an estimator; one that was loaded from an exported file has none."""
    if weights is None:
        raise WeightsError(f"{name}: an exported file contains no weights to save; load the weights instead")
    return weights


def check_estimator(estimator: object) -> None:
    """Check that an argument is an estimator, and not its class or the name of its weights.

    Raises:
        HandPoseError: It is something else.
    """
    if isinstance(estimator, type) or not hasattr(estimator, "find_hands"):
        raise HandPoseError(f"estimator must be what `from_pretrained` returns, got {brief(estimator)}")


def _check_images(images: object, expected: str, use: Callable[[Any], _Result] = iter) -> _Result:
    """Check an argument that should contain several images, and return the result of `use`, such as its length."""
    try:
        if isinstance(images, (str, bytes, PathLike)):
            raise TypeError("a single file")
        return use(images)
    except TypeError:
        raise HandPoseError(f"images must be {expected}, got {brief(images)}") from None


def _find_each(
    estimator: StagedEstimator, images: Iterable[DepthImage], queries: Iterable[Query], on_error: OnError
) -> Iterator[Candidates]:
    """Load images and yield the result of `find` for each, without the skipped ones."""
    check_choice("on_error", on_error, get_args(OnError))
    _check_images(images, "depth files or arrays, as in a list")
    for number, (image, query) in enumerate(zip(images, queries), 1):  # noqa: B905 - the queries may never end
        source = _source(image)
        try:
            depth, notes = _load(image, query)
            found = estimator.find(depth, query, source=source)
        except HandPoseError as error:
            if on_error == "raise":
                raise
            warn_skipped(source or f"image {number}", error)
        else:
            yield replace(found, notes=notes) if notes else found


def _load(image: DepthImage, query: Query) -> tuple[np.ndarray, tuple[Note, ...]]:
    """Return the depth (H, W) in mm of an image, and the warnings about it, which have not been issued."""
    notes: list[Note] = []
    with collect_warnings(notes):
        return query.load(image), tuple(notes)


def _source(image: DepthImage) -> str:
    """Return the path of an image, or an empty string for anything that `numpy` converts to an array."""
    return str(image) if isinstance(image, (str, PathLike)) else ""
