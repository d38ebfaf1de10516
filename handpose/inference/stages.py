"""The stages of a prediction in depth images that were already read: find crops, predict poses, check them."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from handpose.errors import HandPoseError
from handpose.geometry.camera import Camera, CameraLike
from handpose.geometry.crop import PATCH, HandCrop
from handpose.geometry.layouts import JointLayout
from handpose.inference.candidates import Candidates, as_both_hands, faint_candidates, find_candidates, find_hands
from handpose.inference.check_border import CUT_OFF, MOSTLY_CUT_OFF, share_at_border
from handpose.inference.check_camera import camera_warnings
from handpose.inference.check_image import Memory
from handpose.inference.check_location import box_warnings, location_warnings
from handpose.inference.check_pose import doubt_unlikely_hands, hand_warnings, issue
from handpose.inference.decode import decode, no_hand
from handpose.inference.hand_odds import NOT_A_HAND, is_doubtful_hand
from handpose.inference.query import Query
from handpose.inference.refine import (
    all_passes,
    combine_passes,
    is_more_likely,
    least_uncertain,
    may_be_elsewhere,
    with_certain_hands,
)
from handpose.inference.sides import compare_sides, has_doubtful_side, joint_log_odds, log_odds_right, select_poses
from handpose.inference.views import check_views, predict_views
from handpose.io.arguments import check_count
from handpose.io.choices import Views
from handpose.io.depth.read import to_depth
from handpose.io.warn import collect_warnings
from handpose.localization.localizer import hand_candidates, nearest_first
from handpose.network.config import JGRP2OConfig
from handpose.network.heads import Heads
from handpose.results.pose import HandPose, PoseWarning
from handpose.runtimes.base import Runtime

if TYPE_CHECKING:  # Python 3.10 has no `Self`
    from typing_extensions import Self

_OTHER_READINGS = ("unit", "disparity", "interpolated")  # codes of reasons that explain implausible depth values
_OTHER_CAUSES = (*_OTHER_READINGS, "focal_lengths")  # with these, there may be no hand at the border


class StagedEstimator:
    """Predicts hands in stages, for jobs, trackers and checks, which run each stage when and where they need it.

    Args:
        runtime: Runs the network and the localizer.
        config: Dimensions and scales of the network.
        name: Name of the weights.
        sha256: SHA-256 of the weights file, or empty.
        views: Number of rotated copies of each crop to average over: 1, 2 or 4.
        heads: Tell hands from other things and right hands from left ones. Without them, other things are recognized by
            their expected errors, and with `hand="auto"`, the poses as both hands are compared.

    Raises:
        HandPoseError: The number of views is none of these.
    """

    def __init__(
        self,
        runtime: Runtime,
        config: JGRP2OConfig,
        name: str,
        sha256: str = "",
        views: Views = 1,
        *,
        heads: Heads | None = None,
    ) -> None:
        check_views(views)
        self._runtime, self.config, self.name, self.sha256, self.views = runtime, config, name, sha256, views
        self._heads = heads
        self._memory = Memory()

    @property
    def settings_sha256(self) -> str:
        """SHA-256 of what determines the poses besides the weights: configuration, calibration and heads."""
        total = hashlib.sha256(json.dumps(self.config.to_dict(), sort_keys=True).encode())
        for name, tensor in sorted(({} if self._heads is None else self._heads.to_tensors()).items()):
            total.update(name.encode() + tensor.astype("<f4").tobytes())
        return total.hexdigest()

    @property
    def layout(self) -> JointLayout:
        """Names and order of the predicted joints."""
        return self.config.joint_layout

    def find(self, depth: np.ndarray, query: Query, *, source: str = "") -> Candidates:
        """Return the crops of a depth image (H, W) in mm that may show the hand: the first half of `predict`.

        Several threads may do this at once, even while another one runs `poses`. `source` is the image's path.
        """
        return find_candidates(depth, query, source, self.config.cube, self._runtime.votes)

    def find_hands(
        self, depth: np.ndarray, query: Query, max_hands: int, *, source: str = "", thorough: bool = True
    ) -> list[Candidates]:
        """Return the crops of up to `max_hands` hands, nearest first; without a hand, one element without crops.

        This is the first half of `predict_hands`. If there are fewer hands, the crops of unlikely ones follow, which
        `hands` examines, unless `thorough` is false. See `find` for the other arguments.
        """
        thorough = thorough and self._heads is not None  # nothing else is certain enough
        return find_hands(depth, query, source, self.config.cube, self._runtime.votes, max_hands, thorough=thorough)

    def poses(self, candidates: Sequence[Candidates]) -> list[HandPose]:
        """Return the most likely pose of each image, given the results of `find`: the second half of `predict`."""
        return [pose for (pose,) in self.hands([[image] for image in candidates])]

    def hands(self, images: Sequence[Sequence[Candidates]]) -> list[list[HandPose]]:
        """Return the most likely pose of each hand in several images, given the results of `find_hands` or `find`.

        All hands are predicted in one batch, and so are their refinement passes.
        """
        images = self._examine_faint_hands(images)
        poses = self._select_and_refine(images)
        checked = iter(self._with_warnings(poses, [hand for image in images for hand in image]))
        return [doubt_unlikely_hands(list(islice(checked, len(hands)))) for hands in images]

    def _examine_faint_hands(self, images: Sequence[Sequence[Candidates]]) -> list[Sequence[Candidates]]:
        """Return the hands of each image without the faint ones that are not certainly hands."""
        faint = [hand for image in images for hand in image if hand.is_faint]
        alone = self._predict([hand.crops[0] for hand in faint], faint)
        possible = [hand for hand, pose in zip(faint, alone, strict=True) if pose.hand_log_odds > 0.0]
        poses = dict(zip(map(id, possible), self.poses_per_crop(possible), strict=True))
        return [
            with_certain_hands(image, [poses.get(id(hand), ()) for hand in image]) if image[-1].is_faint else image
            for image in images
        ]

    def for_new_job(self) -> Self:
        """Return an estimator with the same network that does not remember the suspicious images of earlier jobs."""
        estimator = copy.copy(self)
        estimator._memory = Memory()
        return estimator

    def passes(self, images: Sequence[Sequence[Candidates]], *, thorough: bool = True) -> list[list[HandPose]]:
        """Return the poses of each hand in several images: the most likely candidate, and refinement passes.

        The hands of all images are one list. See `hands` for the images.

        Args:
            images: The hands of each image.
            thorough: Whether to resolve doubtful sides, and to look for unlikely candidates if no pose is good.
        """
        candidates = [hand for image in images for hand in image]
        poses = self._most_likely(images, resolve_sides=thorough)
        passes = all_passes(poses, candidates, self._predict)
        if thorough:
            self._look_again(candidates, passes)
        return passes

    def _look_again(self, images: Sequence[Candidates], passes: list[list[HandPose]]) -> None:
        """Replace the passes of images without a good pose by those of an unlikely candidate that is a clear hand."""
        unclear = {
            i: faint_candidates(image, self.config.cube, self._runtime.votes)
            for i, (image, poses) in enumerate(zip(images, passes, strict=True))
            if image.is_localized and may_be_elsewhere(combine_passes(poses, self.config.calibration))
        }
        others = self._most_likely([[image] for image in unclear.values()], resolve_sides=True)
        better = {
            i: pose
            for i, pose in zip(unclear, others, strict=True)
            if is_more_likely(pose, least_uncertain(passes[i])[0])
        }
        refined = all_passes(list(better.values()), [unclear[i] for i in better], self._predict)
        for i, poses in zip(better, refined, strict=True):
            passes[i] = poses

    def _most_likely(self, images: Sequence[Sequence[Candidates]], *, resolve_sides: bool) -> list[HandPose]:
        """Return the pose of each hand in several images, as one list: the most likely one of those in its crops."""
        candidates = [hand for image in images for hand in image]
        per_crop = self.poses_per_crop(candidates, resolve_sides=resolve_sides)
        if resolve_sides:
            self._compare_given_sides(candidates, per_crop)
        remaining = iter(per_crop)
        poses: list[HandPose] = []
        for hands in images:
            predicted = list(islice(remaining, len(hands)))
            if any(predicted):
                poses += select_poses(hands, predicted)
            else:
                poses += [no_hand(hand, self.config, self.name) for hand in hands]
        return poses

    def _compare_given_sides(self, images: Sequence[Candidates], poses: Sequence[list[HandPose]]) -> None:
        """Improve the log-odds of the given side in images with several locations that show hands."""
        several = {
            i: hands
            for i, (image, per_crop) in enumerate(zip(images, poses, strict=True))
            if image.query.hand != "auto"
            and len(hands := [k for k, pose in enumerate(per_crop) if not is_doubtful_hand(pose.hand_log_odds)]) > 1
        }
        both = [as_both_hands(images[i], [images[i].crops[k] for k in hands]) for i, hands in several.items()]
        for (i, hands), pairs in zip(several.items(), self.poses_per_crop(both), strict=True):
            log_odds = [log_odds_right(pair) for pair in zip(pairs[::2], pairs[1::2], strict=True)]
            joint = joint_log_odds(log_odds, [pose.center for pose in pairs[::2]])
            for k, value in zip(hands, joint, strict=True):
                pose = poses[i][k]
                poses[i][k] = replace(pose, given_side_log_odds=value if pose.hand == "right" else -value)

    def _select_and_refine(self, images: Sequence[Sequence[Candidates]], *, thorough: bool = True) -> list[HandPose]:
        """Return the most likely pose of each hand, unchecked, as one list."""
        passes = self.passes(images, thorough=thorough)
        return [combine_passes(poses, self.config.calibration) for poses in passes]

    def _with_warnings(self, poses: Sequence[HandPose], candidates: Sequence[Candidates]) -> list[HandPose]:
        """Return poses with their warnings, and issue these, except for those that `find` issues about the camera.

        Args:
            poses: The poses.
            candidates: The image of each pose.
        """
        checks: list[tuple[PoseWarning, ...]] = [()] * len(poses)
        if self.config.calibration is not None:  # without it, wrong poses look like good ones
            calibration = self.config.calibration
            implausible = hand_warnings(poses, [image.query for image in candidates], calibration)
            reasons = self._memory.reasons(poses, candidates, calibration, self.predict_unchecked, self.poses_per_crop)
            checks = [own + why for own, why in zip(implausible, reasons, strict=True)]
        checked = []
        for pose, image, found in zip(poses, candidates, checks, strict=True):
            if image.notes and not any(warning.code in _OTHER_READINGS for warning in found):
                found += tuple(PoseWarning("distance", note.message) for note in image.notes)  # noqa: PLW2901
            if elsewhere := location_warnings(pose, image, found, self._runtime.votes):
                pose, found = replace(pose, status="low_confidence"), found + elsewhere  # noqa: PLW2901
            elif image.depth is not None and not any(warning.code in _OTHER_CAUSES for warning in found):
                if share := share_at_border(pose, image.depth):
                    found += (CUT_OFF,)  # noqa: PLW2901
                if share >= MOSTLY_CUT_OFF:
                    pose = replace(pose, status="low_confidence")  # noqa: PLW2901
            beyond = () if image.depth is None else box_warnings(image.query.box, image.depth.shape)
            if elsewhere or beyond:  # whether it looks like the other hand only matters at the location of the hand
                found = tuple(warning for warning in found if warning.code != "mirrored") + beyond  # noqa: PLW2901
            if is_doubtful_hand(pose.hand_log_odds):
                pose = replace(pose, reason=NOT_A_HAND)  # noqa: PLW2901
            issue(found, image.source)
            warnings = camera_warnings(image.query.camera, image.camera) + found
            checked.append(replace(pose, warnings=warnings) if warnings else pose)
        return checked

    def checked(self, poses: Sequence[HandPose], depth: np.ndarray, query: Query) -> list[HandPose]:
        """Return the poses of the hands in one depth image with their warnings, and issue these.

        Args:
            poses: The poses, predicted by `poses_per_crop`; an image without any is checked, too.
            depth: (H, W) mm, the image.
            query: What is known about it.
        """
        image = Candidates(query, query.camera_for(depth), depth=depth)
        if not poses:
            self._with_warnings([no_hand(image, self.config, self.name)], [image])
        return self._with_warnings(poses, [image] * len(poses))

    def predict_unchecked(self, depth: np.ndarray, query: Query) -> HandPose:
        """Return the pose in another version of an image, without warnings, resolved sides and unlikely candidates."""
        with collect_warnings([]):
            return self._select_and_refine([[self.find(depth, query)]], thorough=False)[0]

    def poses_per_crop(self, candidates: Sequence[Candidates], *, resolve_sides: bool = True) -> list[list[HandPose]]:
        """Return the pose in every crop of each hand or image, predicted in one batch.

        With `hand="auto"` and a head for it, the poses have the log-odds of their sides; where these are doubtful, the
        views of the crops are predicted in another batch, unless `resolve_sides` is false.
        """
        crops = [crop for image in candidates for crop in image.crops]
        images = [image for image in candidates for _ in image.crops]
        predicted = iter(self._predict(crops, images))
        poses = [list(islice(predicted, len(image.crops))) for image in candidates]
        if self._heads is None:
            return poses
        factor = float(self._heads.comparison)
        resolve = self._without_doubt if resolve_sides else lambda _, pairs: pairs
        return [
            resolve(image, compare_sides(own, factor)) if image.query.hand == "auto" else own
            for own, image in zip(poses, candidates, strict=True)
        ]

    def _predict(self, crops: Sequence[HandCrop], images: Sequence[Candidates]) -> list[HandPose]:
        """Return the pose in each crop, given the image that it belongs to."""
        if not crops:
            return []
        patches = [crop.patch for crop in crops]
        run = self._runtime.pose if self._heads is None else self._run_with_heads
        uvz, spread, *log_odds = predict_views(run, patches, self.views, self.config.uv_scale)
        return decode(uvz, spread, crops, images, self.config, self.name, *log_odds)

    def _without_doubt(self, hand: Candidates, poses: list[HandPose]) -> list[HandPose]:
        """Return the poses in the crops of a hand; log-odds of doubtful sides are averaged over four views.

        What is probably not a hand keeps its doubtful side.
        """
        doubtful = [
            index
            for pair in range(0, len(poses), 2)
            if has_doubtful_side(poses[pair])
            and not all(is_doubtful_hand(pose.hand_log_odds) for pose in poses[pair : pair + 2])
            for index in (pair, pair + 1)
        ]
        if self._heads is None or self.views == 4 or not doubtful:
            return poses
        patches = [hand.crops[i].patch for i in doubtful]
        *_, log_odds = predict_views(self._run_with_heads, patches, 4, self.config.uv_scale)
        alone = [replace(poses[i], side_log_odds=value) for i, value in zip(doubtful, log_odds.tolist(), strict=True)]
        compared = dict(zip(doubtful, compare_sides(alone, float(self._heads.comparison)), strict=True))
        return [compared.get(i, pose) for i, pose in enumerate(poses)]

    def _run_with_heads(self, patches: np.ndarray) -> tuple[np.ndarray, ...]:
        """Run the network, and return the log-odds (N,) that patches show hands, and that these are right ones."""
        uvz, spread, features = self._runtime.pose_and_features(patches)
        if features is None or self._heads is None:
            return uvz, spread
        heads = self._heads
        return uvz, spread, *(head.log_odds(features, uvz, spread) for head in (heads.hand, heads.side))

    def localize_hands(self, depth: np.ndarray, camera: CameraLike, max_hands: int = 1) -> np.ndarray:
        """Return the same as `handpose.localize_hands`, computed by the estimator's backend."""
        check_count("max_hands", max_hands)
        return nearest_first(*hand_candidates(to_depth(depth), Camera.of(camera), max_hands, self._runtime.votes))

    def predict_patches(self, patches: np.ndarray) -> np.ndarray:
        """Run only the network: from patches (N, 1, 96, 96) in -1..1 to normalized joints `uvz` (N, J, 3).

        The unit of u and v is `config.uv_scale` patch pixels, that of z is half of the cube.
        """
        patches = np.ascontiguousarray(patches, dtype=np.float32)
        if patches.ndim != 4 or patches.shape[1:] != (1, PATCH, PATCH) or not np.isfinite(patches).all():
            raise HandPoseError(f"patches must be (N, 1, {PATCH}, {PATCH}) finite numbers, got {patches.shape}")
        return self._runtime.pose(patches)[0]

    def predict_crops(self, crops: Sequence[HandCrop]) -> np.ndarray:
        """Return the joints in crops: `xyz` (N, J, 3) in mm, in the camera frame of the image of each crop."""
        poses = self._predict(crops, [Candidates(Query(hand="right"), crop.camera) for crop in crops])
        return np.array([pose.xyz for pose in poses]).reshape(-1, len(self.layout), 3)
