"""From a depth image to a hand pose."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np

from handpose.errors import DeviceMemoryError, HandPoseError
from handpose.geometry.camera import Camera, Cameras
from handpose.geometry.crop import PATCH, HandCrop, denormalize
from handpose.geometry.layouts import JointLayout
from handpose.inference.query import Box, DepthImage, HandOrAuto, camera_of, load_depth, to_centres, to_numbers
from handpose.io.depth.units import DepthUnit
from handpose.localization.centers import center_in_box
from handpose.localization.localizer import hand_candidates, nearest_first
from handpose.localization.network import NEAREST, Votes
from handpose.localization.numpy_runtime import votes_in_numpy
from handpose.network.config import JGRP2OConfig
from handpose.results.pose import HandPose
from handpose.runtimes.base import Backend, BackendName
from handpose.runtimes.select import GRAPH_SUFFIXES, backend_of, load_backend, load_graph, load_votes
from handpose.weights.folder import file_sha256
from handpose.weights.resolve import find_weights

_LARGEST_BATCH = 64
_MIRRORS = {"right": (False,), "left": (True,), "auto": (False, True)}  # the network knows right hands only
_RIVALS = 3  # places that may be the hand in one image
_RIVAL_AREA = 0.2  # of the most likely place's, below which one is no rival to it
_LOOKS = 3  # at one hand, each from a crop around the pose that the one before saw
_CLEAR_MM = 8.0  # expected error of a pose that needs no further look


class _Choice(NamedTuple):
    """A crop that may hold the hand, and how much of what is seen there looks like one, mm^2."""

    crop: HandCrop
    area: float = 1.0


class Candidates(NamedTuple):
    """The crops of one image that may hold its hand, the image's camera and, if the places were found, the image."""

    choices: list[_Choice]
    camera: Camera
    depth: np.ndarray | None = None


class HandPoseEstimator:
    """Finds hands in depth images and their joints. Make one with `from_pretrained`.

    Attributes:
        config: the network's dimensions and scales.
        name: what the weights are called.
        sha256: of the weights' file, or empty.
    """

    def __init__(
        self,
        backend: Backend,
        config: JGRP2OConfig,
        name: str,
        sha256: str = "",
        votes: Votes = votes_in_numpy,
    ) -> None:
        self._backend, self.config, self.name, self.sha256 = backend, config, name, sha256
        self._votes = votes

    @property
    def layout(self) -> JointLayout:
        """Names and order of the joints it gives."""
        return self.config.joint_layout

    @classmethod
    def from_pretrained(
        cls,
        name: str | PathLike[str] = "msra",
        *,
        device: str = "auto",
        backend: BackendName = "auto",
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        token: str | None = None,
    ) -> HandPoseEstimator:
        """An estimator with the weights that `name` stands for.

        Args:
            name: a name that `handpose models` lists, a folder with `config.json` and `model.safetensors`,
                a file of `handpose export`, or `owner/repo[@revision]` on the Hugging Face Hub.
            device: `auto`, `cpu`, `cuda`, `cuda:1`, ...
            backend: what runs the network: `torch`, `onnxruntime`, `openvino`, or `auto` for the fastest installed.
            revision: branch, tag or commit on the Hub.
            cache_dir: where the Hub's files are kept.
            local_files_only: never reach for the network.
            token: for private repositories on the Hub.

        Raises:
            WeightsError: no such weights, or they cannot be fetched or trusted.
            HandPoseError: the backend or device is not there.
        """
        if (file := Path(name)).suffix.lower() in GRAPH_SUFFIXES:
            return cls(
                *load_graph(file, backend, device), file_sha256(file), votes=load_votes(backend_of(file), device)
            )
        weights = find_weights(
            str(name), revision=revision, cache_dir=cache_dir, local_files_only=local_files_only, token=token
        )
        pose, votes = load_backend(weights, backend, device), load_votes(backend, device)
        return cls(pose, weights.config, weights.name, weights.sha256, votes)

    @overload
    def predict(
        self,
        image: DepthImage,
        *,
        camera: Camera | None = None,
        center: Sequence[float] | np.ndarray | None = None,
        box: Box | None = None,
        hand: HandOrAuto = "right",
        unit: DepthUnit = "mm",
    ) -> HandPose: ...

    @overload
    def predict(
        self,
        image: list[DepthImage],
        *,
        camera: Camera | None = None,
        center: Sequence[float] | np.ndarray | None = None,
        box: Box | None = None,
        hand: HandOrAuto = "right",
        unit: DepthUnit = "mm",
    ) -> list[HandPose]: ...

    def predict(
        self,
        image: DepthImage | list[DepthImage],
        *,
        camera: Camera | None = None,
        center: Sequence[float] | np.ndarray | None = None,
        box: Box | None = None,
        hand: HandOrAuto = "right",
        unit: DepthUnit = "mm",
    ) -> HandPose | list[HandPose]:
        """The pose of the hand in a depth image, or of each image of a list.

        Args:
            image: a depth file, an array (H, W), or a list of these.
            camera: intrinsics of the image. Without them a usual field of view is assumed, with a warning.
            center: (3,) the hand's centre in mm, camera frame; found in the image if not given.
            box: x, y, width, height in px around the hand, instead of `center`.
            hand: which hand it is; `auto` tells, and costs twice the network's time.
            unit: what the numbers of the image mean: `mm`, `m`, mm per unit, or `nyu`.

        Raises:
            HandPoseError: bad arguments, or an image that cannot be read (`DepthReadError`).

        Warns:
            AssumedCameraWarning: no camera was given.
        """
        if isinstance(image, list):
            return self.predict_batch(image, camera=camera, center=center, box=box, hand=hand, unit=unit)
        return self.predict_batch([image], camera=camera, center=center, box=box, hand=hand, unit=unit)[0]

    def predict_batch(
        self,
        images: Sequence[DepthImage],
        *,
        camera: Camera | None = None,
        center: Sequence[float] | np.ndarray | None = None,
        box: Box | None = None,
        hand: HandOrAuto = "right",
        unit: DepthUnit = "mm",
    ) -> list[HandPose]:
        """The poses of several images, through the network in one batch. Arguments as in `predict`.

        `center` may also be (N, 3), one centre per image, NaN for an image without a hand.
        """
        centres = None if center is None else to_centres(center, len(images))
        found = [
            self.find(
                load_depth(image, unit),
                camera=camera,
                center=None if centres is None else centres[i],
                box=box,
                hand=hand,
            )
            for i, image in enumerate(images)
        ]
        sources = ["" if isinstance(image, np.ndarray) else str(image) for image in images]
        return self.poses(found, sources, hand)

    def find(
        self,
        depth: np.ndarray,
        *,
        camera: Camera | None = None,
        center: np.ndarray | None = None,
        box: Box | None = None,
        hand: HandOrAuto = "right",
    ) -> Candidates:
        """The crops of a depth image (H, W) mm that may hold the hand: what `predict` does before the network.

        Arguments and errors as in `predict`; `center` is (3,). Threads may do this side by side, and beside `poses`.
        """
        if center is not None and box is not None:
            raise HandPoseError("give the hand's center or its box, not both")
        if box is not None and to_numbers(box).shape != (4,):
            raise HandPoseError(f"a box is x, y, width, height in px, got {box}")
        camera = camera_of(depth, camera)
        found = center is None and box is None
        return Candidates(self._choices(depth, camera, center, box, hand), camera, depth if found else None)

    def predict_hands(
        self,
        image: DepthImage,
        *,
        max_hands: int = 2,
        camera: Camera | None = None,
        hand: HandOrAuto = "right",
        unit: DepthUnit = "mm",
    ) -> list[HandPose]:
        """The poses of up to `max_hands` hands in one image, nearest first; empty if there is none."""
        depth = load_depth(image, unit)
        camera = camera_of(depth, camera)
        found = [
            Candidates([_Choice(crop) for crop in self._crops(depth, camera, centre, hand)], camera)
            for centre in self.localize_hands(depth, camera, max_hands)
        ]
        source = "" if isinstance(image, np.ndarray) else str(image)
        return self.poses(found, [source] * len(found), hand)

    def stream(
        self,
        images: Iterable[DepthImage],
        *,
        camera: Camera | None = None,
        hand: HandOrAuto = "right",
        unit: DepthUnit = "mm",
    ) -> Iterator[HandPose]:
        """The poses of images as they come, one at a time, in constant memory."""
        for image in images:
            yield self.predict(image, camera=camera, hand=hand, unit=unit)

    def localize_hands(self, depth: np.ndarray, camera: Camera, max_hands: int = 1) -> np.ndarray:
        """As `handpose.localize_hands`, in the backend's own runtime."""
        return nearest_first(*hand_candidates(depth, camera, max_hands, self._votes))

    def predict_patches(self, patches: np.ndarray) -> np.ndarray:
        """The network alone: from patches (N, 1, 96, 96) in -1..1 to normalised uvz (N, J, 3).

        u and v count in units of `config.uv_scale` patch pixels, z in halves of the cube.
        """
        patches = np.ascontiguousarray(patches, dtype=np.float32)
        if patches.ndim != 4 or patches.shape[1:] != (1, PATCH, PATCH) or not np.isfinite(patches).all():
            raise HandPoseError(f"patches must be (N, 1, {PATCH}, {PATCH}) finite numbers, got {patches.shape}")
        return self._backend(patches)[0]

    def predict_crops(self, crops: Sequence[HandCrop]) -> np.ndarray:
        """The joints of crops, xyz (N, J, 3) in mm in the frame of the camera that each was cut from."""
        found = [Candidates([_Choice(crop)], crop.camera) for crop in crops]
        return np.stack([pose.xyz for pose in self.poses(found, [""] * len(crops), "right")])

    def _choices(
        self, depth: np.ndarray, camera: Camera, center: np.ndarray | None, box: Box | None, hand: HandOrAuto
    ) -> list[_Choice]:
        """The crops that may hold the hand: of one place if it is given or clear, none if there is no hand."""
        if box is not None:
            center = center_in_box(depth, camera, box)
        elif center is None:
            centres, areas = hand_candidates(depth, camera, _RIVALS, self._votes)
            rivals = areas >= _RIVAL_AREA * areas.max(initial=0.0)
            return [
                _Choice(crop, float(area))
                for place, area in zip(centres[rivals], areas[rivals], strict=True)
                for crop in self._crops(depth, camera, place, hand)
            ]
        if center is None or np.isnan(center).all():
            return []
        crops = self._crops(depth, camera, center, hand)
        within = (crops[0].patch > -1.0) & (crops[0].patch < 1.0)
        # An empty cube has no hand in it, rather than random joints.
        return [_Choice(crop) for crop in crops] if within.any() else []

    def _crops(self, depth: np.ndarray, camera: Camera, center: np.ndarray, hand: HandOrAuto) -> list[HandCrop]:
        """The crops of one place, one for each hand that it may be."""
        if hand not in _MIRRORS:
            raise HandPoseError(f"hand must be right, left or auto, got {hand!r}")
        return [HandCrop.cut(depth, camera, center, self.config.cube, mirror=mirror) for mirror in _MIRRORS[hand]]

    def poses(self, found: Sequence[Candidates], sources: Sequence[str], hand: HandOrAuto) -> list[HandPose]:
        """For each image the pose of that candidate which shows most hand with the least doubt.

        Args:
            found: what `find` gave for each image.
            sources: the images' names.
            hand: which hand they show, as `find` was told.

        Raises:
            DeviceMemoryError: the device has no room for a single crop.
        """
        seen = iter(
            self._seen(
                [choice.crop for image in found for choice in image.choices],
                [image.camera for image in found for _ in image.choices],
                [source for image, source in zip(found, sources, strict=True) for _ in image.choices],
            )
        )
        poses = []
        for (choices, camera, _), source in zip(found, sources, strict=True):
            rivals = [(next(seen), choice.area) for choice in choices]
            poses.append(
                min(rivals, key=lambda pair: _doubt(pair[0]) / pair[1])[0]
                if rivals
                else HandPose.no_hand(
                    self.layout,
                    hand="right" if hand == "auto" else hand,
                    cube=self.config.cube,
                    camera=camera,
                    model=self.name,
                    source=source,
                )
            )
        self._look_again(found, poses)
        return poses

    def _look_again(self, found: Sequence[Candidates], poses: list[HandPose]) -> None:
        """Replaces unclear poses at places that were found by clearer ones, from crops around what was seen."""
        last = {i: pose for i, pose in enumerate(poses) if found[i].depth is not None}
        for _ in range(_LOOKS - 1):
            last = {
                i: pose
                for i, pose in last.items()
                if pose.error_mm.mean() > _CLEAR_MM and pose.xyz[:, 2].mean() > NEAREST
            }
            crops = [
                HandCrop.cut(depth, pose.camera, pose.xyz.mean(axis=0), pose.cube, mirror=pose.hand == "left")
                for depth, pose in ((found[i].depth, pose) for i, pose in last.items())
                if depth is not None
            ]
            seen = self._seen(crops, [pose.camera for pose in last.values()], [pose.source for pose in last.values()])
            last = dict(zip(last, seen, strict=True))
            for i, pose in last.items():
                poses[i] = min(poses[i], pose, key=_doubt)

    def _seen(self, crops: Sequence[HandCrop], cameras: Sequence[Camera], sources: Sequence[str]) -> list[HandPose]:
        """The pose in each crop, whatever it shows, with the camera and the name of the crop's image."""
        if not crops:
            return []
        uvz, spread = self._network([crop.patch for crop in crops])
        if not (np.isfinite(uvz).all() and np.isfinite(spread).all()):
            raise HandPoseError(f"{self.name}: the network gives numbers that are not finite; its weights are damaged")
        views = Cameras([crop.camera for crop in crops])
        in_patch = denormalize(crops, uvz, self.config.uv_scale)
        xyz = views.unproject(in_patch)
        # At a joint's depth a patch pixel covers depth / focal length.
        pixel = in_patch[..., 2] / views.fx * self.config.uv_scale
        half = np.broadcast_to([[crop.cube / 2] for crop in crops], pixel.shape)
        spread = spread * np.stack([pixel, pixel, half], axis=-1)
        calibration, error_mm, doubtful = self.config.calibration, np.full(xyz.shape[:2], np.nan), [False] * len(crops)
        if calibration is not None:
            error_mm = calibration.expected_error(xyz, spread, self.layout)
            doubtful = (error_mm.mean(axis=1) > calibration.doubtful_mm).tolist()
        in_image = Cameras(cameras).project(xyz)
        return [
            HandPose(
                xyz=xyz[i],
                uvz=in_image[i],
                spread=spread[i],
                error_mm=error_mm[i],
                layout=self.layout,
                status="low_confidence" if doubtful[i] else "ok",
                hand="left" if crop.mirrored else "right",
                center=crop.center,
                cube=crop.cube,
                camera=cameras[i],
                model=self.name,
                source=sources[i],
            )
            for i, crop in enumerate(crops)
        ]

    def _network(self, patches: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Normalised joints and spread, each (N, J, 3), of N patches (96, 96), in batches that the device can take."""
        results: list[tuple[np.ndarray, np.ndarray]] = []
        at, largest = 0, _LARGEST_BATCH
        while at < len(patches):
            batch = patches[at : at + largest]
            try:
                results.append(self._backend(np.stack(batch)[:, None]))
            except DeviceMemoryError as error:
                if len(batch) == 1:
                    raise DeviceMemoryError(
                        f"the device has no memory for a single crop ({error}); close other programs or use the cpu"
                    ) from None
                largest = len(batch) // 2
                continue
            at += len(batch)
        uvz, spread = map(np.concatenate, zip(*results, strict=True))
        return uvz, spread


def _doubt(pose: HandPose) -> float:
    """What rival poses are compared by: their expected error, or without a calibration their votes' variance."""
    return float(np.square(pose.spread).sum() if np.isnan(pose.error_mm).any() else pose.error_mm.mean())
