"""Hands seen through a distorted lens."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from handpose import Camera, Distortion, HandPose, HandPoseEstimator, Query, localize_hands, predict_files
from handpose.results.page import pose_page
from handpose.results.pose import HandPose as Pose
from handpose.synthetic.hand_model import HandModel
from handpose.synthetic.poses import pose_bank
from handpose.synthetic.render import rasterize
from tests.helpers.paths import EXAMPLES
from tests.helpers.scenes import AZURE_KINECT

PINHOLE = Camera(504, 504, 520, 500, 1040, 1000)
FINE = Camera(1512, 1512, 1561, 1501, 3120, 3000)
LOCATIONS = (
    (0.0, 0.0, 480.0),
    (160.0, 0.0, 480.0),
    (-200.0, 50.0, 520.0),
    (-150.0, -140.0, 450.0),
    (-160.0, 130.0, 540.0),
)


@pytest.fixture(scope="module")
def estimator() -> HandPoseEstimator:
    return HandPoseEstimator.from_pretrained("msra", device="cpu", local_files_only=True)


@pytest.fixture(scope="module")
def scenes(hand_file: Path) -> list[np.ndarray]:
    """Finely rendered images (H, W) in mm of `FINE`, one per location: hands without noise."""
    hand = HandModel(hand_file)
    front = torch.tensor([[0.0, 0.0, 1.0], [0.0, -1.0, 0.0], [1.0, 0.0, 0.0]])
    focal, principal = torch.tensor([FINE.fx]), torch.tensor([[FINE.cx, FINE.cy]])
    images = []
    for angles, location in zip(pose_bank(hand, len(LOCATIONS), 0), LOCATIONS, strict=True):
        vertices, landmarks = hand.pose(hand.draw_shapes(1, torch.Generator().manual_seed(0)), angles[None])
        vertices = (vertices - landmarks.mean(dim=1)) @ front.T + torch.tensor(location)
        depth = rasterize(vertices, hand.faces, focal, principal, int(FINE.width))[0, : int(FINE.height)]
        images.append(depth.nan_to_num(posinf=0.0).numpy())
    return images


def seen_by(camera: Camera, scene: np.ndarray) -> np.ndarray:
    """What a camera sees of a finely rendered image, ray by ray."""
    v, u = np.indices((int(camera.height), int(camera.width)))
    u, v, _ = np.moveaxis(FINE.project(camera.unproject(np.stack([u, v, np.ones(u.shape)], axis=-1))).round(), -1, 0)
    inside = (u >= 0) & (v >= 0) & (u < FINE.width) & (v < FINE.height)
    pixels = np.where(inside, v, 0).astype(int), np.where(inside, u, 0).astype(int)
    return np.where(inside, scene[pixels], 0.0).astype(np.float32)


def distance(pose: HandPose, other: HandPose) -> float:
    return float(np.linalg.norm(pose.xyz - other.xyz, axis=1).mean())


def test_joints_through_a_distorted_lens_are_those_without_it(
    estimator: HandPoseEstimator, scenes: list[np.ndarray]
) -> None:
    ignored = dataclasses.replace(AZURE_KINECT, distortion=None)
    with_lens, without = [], []
    for scene in scenes:
        depth, straight = seen_by(AZURE_KINECT, scene), seen_by(PINHOLE, scene)
        expected = estimator.predict(straight, camera=PINHOLE)
        center = expected.center
        pose = estimator.predict(depth, camera=AZURE_KINECT, center=center)
        with_lens.append(distance(pose, estimator.predict(straight, camera=PINHOLE, center=center)))
        without.append(distance(estimator.predict(depth, camera=ignored), expected))
        # The hand is found at the same place.
        assert np.linalg.norm(localize_hands(depth, AZURE_KINECT)[0] - localize_hands(straight, PINHOLE)[0]) < 30.0
        # uvz is in pixels of the original image.
        u, v = pose.uvz[:, :2].round().astype(int).T
        assert (depth[v.clip(0, 575), u.clip(0, 639)] > 0).mean() > 0.8
    assert max(with_lens) < 2.0
    assert max(without) > 10.0


@pytest.fixture(scope="module")
def frame(scenes: list[np.ndarray]) -> np.ndarray:
    return seen_by(AZURE_KINECT, scenes[2])


def test_a_box_is_in_pixels_of_the_original_image(estimator: HandPoseEstimator, scenes: list[np.ndarray]) -> None:
    centers = []
    for camera in (AZURE_KINECT, PINHOLE):
        depth = seen_by(camera, scenes[2])
        uv = estimator.predict(depth, camera=camera).uvz[:, :2]
        box = (*uv.min(axis=0).tolist(), *np.ptp(uv, axis=0).tolist())
        centers.append(estimator.predict(depth, camera=camera, box=box).center)
    assert np.linalg.norm(centers[0] - centers[1]) < 8.0


def test_results_and_jobs_keep_the_lens(estimator: HandPoseEstimator, frame: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", frame)
    (tmp_path / "camera.json").write_text(json.dumps(AZURE_KINECT.to_dict()))
    pose = estimator.predict(frame, camera=AZURE_KINECT)
    (result,) = predict_files(estimator, [tmp_path / "a.npy"], Query(tmp_path / "camera.json"), keep_depth=True)
    assert result.pose is not None
    assert np.array_equal(result.pose.xyz, pose.xyz)
    record = json.loads(json.dumps(result.pose.to_dict()))
    assert Pose.from_dict(record).camera == AZURE_KINECT
    assert result.depth is not None
    assert np.array_equal(result.depth, frame)  # pictures show the original image
    points = np.array(json.loads(pose_page(pose, frame).split('"points":')[1].split("}")[0])).reshape(-1, 3)
    assert np.linalg.norm(points - pose.xyz[9], axis=1).min() < 25.0


def test_a_negligible_distortion_is_dropped(estimator: HandPoseEstimator) -> None:
    camera = Camera.parse(str(EXAMPLES / "camera.json"))
    almost = dataclasses.replace(camera, distortion=Distortion("brown_conrady", (1e-5, 0.0, 0.0, 0.0)))
    pose = estimator.predict(EXAMPLES / "open.png", camera=almost)
    assert pose.camera == camera
    assert np.array_equal(pose.uvz, estimator.predict(EXAMPLES / "open.png", camera=camera).uvz)


def test_cameras_of_every_kind_predict_the_same(estimator: HandPoseEstimator) -> None:
    path = EXAMPLES / "camera.json"
    expected = estimator.predict(EXAMPLES / "open.png", camera=Camera.parse(str(path))).xyz
    matrix = [[476.0, 0.0, 319.5], [0.0, 476.0, 239.5], [0.0, 0.0, 1.0]]
    for camera in (path, str(path), matrix, np.array(matrix), (476.0, 476.0, 319.5, 239.5)):
        assert np.array_equal(estimator.predict(EXAMPLES / "open.png", camera=camera).xyz, expected)
        assert np.array_equal(next(iter(estimator.stream([EXAMPLES / "open.png"], camera=camera))).xyz, expected)
        assert len(estimator.predict_hands(EXAMPLES / "open.png", camera=camera)) == 1
