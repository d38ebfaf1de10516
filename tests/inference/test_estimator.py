from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handpose import (
    AssumedCameraWarning,
    Camera,
    DepthReadError,
    HandPose,
    HandPoseError,
    HandPoseEstimator,
    SkippedFrameWarning,
    localize_hands,
    read_depth,
)
from handpose.geometry.articulation import finger_states, joint_angles
from handpose.inference.query import Query
from handpose.inference.views import predict_views
from handpose.io.choices import HandOrAuto
from handpose.localization.localizer import hand_candidates
from tests.helpers.paths import EXAMPLES
from tests.helpers.scenes import arm_with_hand, render_balls

CAMERA = Camera.parse(str(EXAMPLES / "camera.json"))
NAMES = ["open", "thumb", "down"]


@pytest.fixture(scope="module")
def estimator() -> HandPoseEstimator:
    return HandPoseEstimator.from_pretrained("msra", device="cpu", local_files_only=True)


def truth(name: str) -> np.ndarray:
    return np.array(json.loads((EXAMPLES / f"{name}.truth.json").read_text())["xyz_mm"])


@pytest.mark.parametrize("name", NAMES)
def test_example_joints_match_the_truth(estimator: HandPoseEstimator, name: str) -> None:
    pose = estimator.predict(EXAMPLES / f"{name}.png", camera=CAMERA)
    errors = np.linalg.norm(pose.xyz - truth(name), axis=1)
    assert pose.status == "ok"
    assert errors.mean() < 12.0
    assert errors.max() < 30.0
    assert np.allclose(CAMERA.project(pose.xyz), pose.uvz)
    assert pose.source.endswith(f"{name}.png")
    assert pose["wrist"] == pytest.approx(pose.xyz[0])


@pytest.mark.filterwarnings("ignore::handpose.InputWarning")
@pytest.mark.parametrize("name", NAMES)
def test_a_left_hand_equals_a_mirrored_right_hand(estimator: HandPoseEstimator, name: str) -> None:
    depth = read_depth(EXAMPLES / f"{name}.png")
    mirrored = Camera(CAMERA.fx, CAMERA.fy, CAMERA.width - 1 - CAMERA.cx, CAMERA.cy, CAMERA.width, CAMERA.height)
    center = localize_hands(depth, CAMERA)[0]
    right = estimator.predict(depth, camera=CAMERA, center=center)
    left = estimator.predict(depth[:, ::-1], camera=mirrored, center=center * [-1, 1, 1], hand="left")
    assert left.hand == "left"
    # Mirroring may change the nearest pixel where a patch pixel lies halfway between two.
    assert np.linalg.norm(left.xyz * [-1, 1, 1] - right.xyz, axis=1).mean() < 1.0
    wrong = estimator.predict(depth[:, ::-1], camera=mirrored, center=center * [-1, 1, 1], hand="right")
    assert np.linalg.norm(wrong.xyz * [-1, 1, 1] - right.xyz, axis=1).mean() > 3.0


@pytest.mark.parametrize("name", NAMES)
def test_auto_predicts_the_hand(estimator: HandPoseEstimator, name: str) -> None:
    depth = read_depth(EXAMPLES / f"{name}.png")
    mirrored = Camera(CAMERA.fx, CAMERA.fy, CAMERA.width - 1 - CAMERA.cx, CAMERA.cy, CAMERA.width, CAMERA.height)
    for image, camera, hand in ((depth, CAMERA, "right"), (depth[:, ::-1], mirrored, "left")):
        pose = estimator.predict(image, camera=camera, hand="auto")
        assert pose.hand == hand
        assert np.allclose(pose.xyz, estimator.predict(image, camera=camera, hand=hand).xyz, atol=0.01)
        assert [pose.hand for pose in estimator.predict_hands(image, camera=camera, hand="auto")] == [hand]
    empty = estimator.predict(np.zeros((480, 640), np.float32), camera=CAMERA, hand="auto")
    assert empty.status == "no_hand"


@pytest.mark.filterwarnings("ignore::handpose.InputWarning")
def test_by_default_the_hand_is_predicted(estimator: HandPoseEstimator) -> None:
    """A left hand that was taken for a right one would be more than 35 mm off."""
    depth = read_depth(EXAMPLES / "open.png")[:, ::-1]
    camera = Camera(CAMERA.fx, CAMERA.fy, CAMERA.width - 1 - CAMERA.cx, CAMERA.cy, CAMERA.width, CAMERA.height)
    given = estimator.predict(depth, camera=camera, hand="left")
    center = given.center
    for pose in (
        estimator.predict(depth, camera=camera),
        estimator(depth, camera=camera),
        estimator.predict(depth, camera=camera, center=center),
        *estimator.predict_batch([depth], camera=camera),
        *estimator.predict_hands(depth, camera=camera),
        *estimator.stream([depth], camera=camera),
    ):
        assert pose.hand == "left"
        assert np.allclose(pose.xyz, given.xyz, atol=5.0)
    wrong = estimator.predict(depth, camera=camera, hand="right")
    assert np.linalg.norm(wrong.xyz - given.xyz, axis=1).mean() > 35.0


@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("backend", ["torch", "onnxruntime", "openvino"])
@pytest.mark.filterwarnings("ignore:may be a left hand")
def test_predicting_the_hand_does_not_change_its_joints(backend: str, views: int) -> None:
    """The crop and its mirror image are one batch, on whose size the last digits depend."""
    pytest.importorskip(backend)
    estimator = HandPoseEstimator.from_pretrained("msra", device="cpu", backend=backend, views=views)
    real = Camera.parse(str(EXAMPLES / "sr305" / "camera.json"))
    for path, camera, unit in (
        *((EXAMPLES / f"{name}.png", CAMERA, "mm") for name in NAMES),
        *((EXAMPLES / "sr305" / f"{name}.png", real, 0.125) for name in ("open", "pinch", "down")),
    ):
        known, predicted = (estimator.predict(path, camera=camera, unit=unit, hand=hand) for hand in ("right", "auto"))
        assert (predicted.hand, predicted.status) == ("right", known.status)
        for name in ("xyz", "uvz", "spread", "error_mm"):
            assert np.abs(getattr(known, name) - getattr(predicted, name)).max() <= 1e-3, (path, name)


def test_only_sides_that_are_asked_for_are_predicted(estimator: HandPoseEstimator) -> None:
    """A tracker predicts hands of known and of unknown side in one batch."""
    depth = read_depth(EXAMPLES / "open.png")
    found = [estimator.find(depth, Query(CAMERA, hand=hand)) for hand in ("left", "auto")]
    (left,), pair = estimator.poses_per_crop(found)
    assert (left.hand, [pose.hand for pose in pair]) == ("left", ["right", "left"])
    assert np.isnan(left.side_log_odds)
    assert pair[0].side_log_odds == -pair[1].side_log_odds > 3.0


def test_a_batch_equals_its_single_images(estimator: HandPoseEstimator) -> None:
    images = [EXAMPLES / f"{name}.png" for name in NAMES]
    singles = [estimator.predict(image, camera=CAMERA) for image in images]
    for batch in (estimator.predict(images, camera=CAMERA), list(estimator.stream(iter(images), camera=CAMERA))):
        for one, other in zip(singles, batch, strict=True):
            assert np.abs(one.xyz - other.xyz).max() < 0.01
            assert np.abs(one.spread - other.spread).max() < 0.01


def test_a_stream_is_lazy(estimator: HandPoseEstimator) -> None:
    def images():
        yield EXAMPLES / "open.png"
        pytest.fail("the second image was requested too early")

    assert next(estimator.stream(images(), camera=CAMERA)).status == "ok"


def test_units_of_arrays(estimator: HandPoseEstimator) -> None:
    depth = read_depth(EXAMPLES / "open.png")
    expected = estimator.predict(depth, camera=CAMERA).xyz
    for array, unit in ((depth / 1000, "m"), (depth.astype(np.float64) * 8, 0.125), (depth.astype(np.uint16), "mm")):
        pose = estimator.predict(array, camera=CAMERA, unit=unit)
        assert np.abs(pose.xyz - expected).max() < 0.05
        assert pose.to_dict().get("unit", "mm") == unit


def test_the_hand_can_be_given_by_center_or_box(estimator: HandPoseEstimator) -> None:
    joints = truth("open")
    depth = read_depth(EXAMPLES / "open.png")
    u, v, _ = CAMERA.project(joints).T
    box = (u.min() - 8, v.min() - 8, np.ptp(u) + 16, np.ptp(v) + 16)
    for pose in (
        estimator.predict(depth, camera=CAMERA, center=joints.mean(0)),
        estimator.predict(depth, camera=CAMERA, box=box),
    ):
        assert np.linalg.norm(pose.xyz - joints, axis=1).mean() < 15.0
    assert estimator.predict(depth, camera=CAMERA, center=[0.0, 0.0, 3000.0]).status == "no_hand"
    assert estimator.predict(depth, camera=CAMERA, box=(0, 0, 20, 20)).status == "no_hand"


@pytest.mark.filterwarnings("ignore::handpose.InputWarning")
def test_a_poor_hand_center_is_refined(estimator: HandPoseEstimator, monkeypatch: pytest.MonkeyPatch) -> None:
    joints = truth("open")
    shifted = joints.mean(axis=0) + np.array([0.0, -90.0, 0.0])
    depth = read_depth(EXAMPLES / "open.png")
    given = estimator.predict(depth, camera=CAMERA, center=shifted, hand="right")
    monkeypatch.setattr("handpose.inference.candidates.hand_candidates", lambda *_: (shifted[None], np.array([5000.0])))
    refined = estimator.predict(depth, camera=CAMERA, hand="right")
    assert np.linalg.norm(given.xyz - joints, axis=1).mean() > 25.0
    assert np.linalg.norm(refined.xyz - joints, axis=1).mean() < 10.0
    assert refined.error_mm.mean() < 8.0 < given.error_mm.mean()

    mirror = replace(CAMERA, cx=CAMERA.width - 1 - CAMERA.cx)
    monkeypatch.setattr(
        "handpose.inference.candidates.hand_candidates", lambda *_: (shifted[None] * [-1, 1, 1], np.array([5000.0]))
    )
    left = estimator.predict(depth[:, ::-1], camera=mirror, hand="left")
    assert np.allclose(left.xyz * [-1, 1, 1], refined.xyz, atol=2.0)


@pytest.mark.filterwarnings("ignore::handpose.InputWarning")
@pytest.mark.parametrize("hand", ["right", "auto"])
@pytest.mark.parametrize("likely", ["a part of the background", "nothing"])
def test_a_hand_at_an_unlikely_location_is_found(
    estimator: HandPoseEstimator, monkeypatch: pytest.MonkeyPatch, hand: HandOrAuto, likely: str
) -> None:
    depth, joints = read_depth(EXAMPLES / "open.png"), truth("open")
    v, u = np.argwhere(depth > joints[:, 2].max() + 100.0)[0]
    background = CAMERA.unproject(np.array([u, v, depth[v, u]]))
    elsewhere = background[None] if likely == "a part of the background" else np.empty((0, 3))

    def candidates(*_: object, faint: bool = False) -> tuple[np.ndarray, np.ndarray]:
        centers = np.concatenate([elsewhere, joints.mean(0)[None]]) if faint else elsewhere
        return centers, np.full(len(centers), 5000.0)

    monkeypatch.setattr("handpose.inference.candidates.hand_candidates", candidates)
    pose = estimator.predict(depth, camera=CAMERA, hand=hand)
    assert pose.status == "ok"
    assert np.linalg.norm(pose.xyz - joints, axis=1).mean() < 10.0
    assert pose.hand == "right"
    depth[depth < joints[:, 2].max() + 30.0] = 0.0
    assert estimator.predict(depth, camera=CAMERA, hand=hand).status != "ok"


def test_a_clear_hand_is_localized_once(estimator: HandPoseEstimator, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(*arguments: Any, **options: Any) -> tuple[np.ndarray, np.ndarray]:
        calls.append(options)
        return hand_candidates(*arguments, **options)

    monkeypatch.setattr("handpose.inference.candidates.hand_candidates", counted)
    assert estimator.predict(read_depth(EXAMPLES / "open.png"), camera=CAMERA, hand="right").status == "ok"
    assert calls == [{}]


@pytest.mark.parametrize(("log_odds", "views"), [(9.0, [1, 4]), (-9.0, [1])])
def test_a_doubtful_side_is_resolved_if_there_is_a_hand(
    estimator: HandPoseEstimator, monkeypatch: pytest.MonkeyPatch, log_odds: float, views: list[int]
) -> None:
    run = []

    def without_side(*arguments: Any) -> tuple[np.ndarray, ...]:
        run.append(arguments[2])
        uvz, spread, hand, side = predict_views(*arguments)
        return uvz, spread, np.full_like(hand, log_odds), np.zeros_like(side)

    monkeypatch.setattr("handpose.inference.stages.predict_views", without_side)
    estimator.poses_per_crop([estimator.find(read_depth(EXAMPLES / "open.png"), Query(CAMERA, hand="auto"))])
    assert run == views


def test_cropped_and_rescaled_images_give_the_same_hand(estimator: HandPoseEstimator) -> None:
    depth = read_depth(EXAMPLES / "open.png")
    center = localize_hands(depth, CAMERA)[0]
    expected = estimator.predict(depth, camera=CAMERA, center=center)
    window = estimator.predict(depth[60:420, 40:420], camera=CAMERA.crop(40, 60, 380, 360), center=center)
    assert np.abs(window.xyz - expected.xyz).max() < 0.5
    assert np.allclose(window.uvz[:, :2] + [40, 60], expected.uvz[:, :2], atol=0.5)
    doubled = estimator.predict(depth.repeat(2, 0).repeat(2, 1), camera=CAMERA, center=center)
    assert np.abs(doubled.xyz - expected.xyz).max() < 1.0
    assert doubled.camera.width == 1280


def test_without_a_hand_all_values_are_nan(estimator: HandPoseEstimator) -> None:
    pose = estimator.predict(np.zeros((480, 640), np.float32), camera=CAMERA)
    assert pose.status == "no_hand"
    assert np.isnan(pose.xyz).all()
    assert np.isnan(pose.spread).all()
    assert np.isnan(pose.error_mm).all()
    assert pose.angles() == pose.fingers() == {}
    assert pose.draw(np.zeros((480, 640), np.float32)).shape == (960, 1280, 3)


@pytest.mark.parametrize("name", NAMES)
def test_angles_and_fingers_match_the_true_joints(estimator: HandPoseEstimator, name: str) -> None:
    pose = estimator.predict(EXAMPLES / f"{name}.png", camera=CAMERA)
    true = joint_angles(truth(name), pose.layout)
    assert list(pose.angles()) == list(true)
    assert np.abs(np.array(list(pose.angles().values())) - list(true.values())).mean() < 12.0
    states = finger_states(truth(name), pose.layout)
    assert set(states.values()) == {"bent", "extended"}
    assert len(pose.fingers().items() & states.items()) >= 4  # of five: one is close to the threshold


def test_several_hands(estimator: HandPoseEstimator) -> None:
    up = np.array([0.0, -1.0, 0.0])
    balls = [ball for x in (-150.0, 150.0) for ball in arm_with_hand(up, np.array([x, 50.0, 600.0]), 400.0)]
    poses = estimator.predict_hands(render_balls(CAMERA, balls), camera=CAMERA, max_hands=3)
    assert sorted(pose.center[0] > 0 for pose in poses) == [False, True]
    assert estimator.predict_hands(np.zeros((480, 640), np.float32), camera=CAMERA) == []


def test_without_a_camera_one_is_assumed_with_a_warning(estimator: HandPoseEstimator) -> None:
    with pytest.warns(AssumedCameraWarning, match="pass the camera's fx, fy, cx, cy"):
        pose = estimator.predict(EXAMPLES / "open.png")
    assert pose.camera == Camera.assumed(640, 480)


def test_invalid_arguments_are_rejected(estimator: HandPoseEstimator) -> None:
    depth = read_depth(EXAMPLES / "open.png")
    for arguments, message in (
        ({"hand": "both"}, "hand must be right, left or auto"),
        ({"center": [0, 0, 500], "box": (0, 0, 9, 9)}, "not both"),
        ({"center": [0, 0, -500]}, "hand center must be"),
        ({"camera": Camera.parse("msra").resize(640, 400)}, "640 x 400"),
        ({"unit": "cm"}, "unit must be"),
    ):
        with pytest.raises(HandPoseError, match=message):
            estimator.predict(depth, **({"camera": CAMERA} | arguments))
    with pytest.raises(HandPoseError, match=r"patches must be \(N, 1, 96, 96\)"):
        estimator.predict_patches(np.zeros((2, 96, 96)))
    with pytest.raises(HandPoseError, match="device must be auto"):
        HandPoseEstimator.from_pretrained("msra", device="abacus")
    with pytest.raises(HandPoseError, match="backend must be"):
        HandPoseEstimator.from_pretrained("msra", backend="abacus")


def test_a_bad_image_of_many_is_skipped_on_request(estimator: HandPoseEstimator, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"x")
    good = EXAMPLES / "open.png"
    images = [good, tmp_path / "bad.png", np.zeros((3, 4, 5)), good]
    for predict in (estimator.predict, estimator.predict_batch, lambda *a, **b: list(estimator.stream(*a, **b))):
        with pytest.warns(SkippedFrameWarning) as skipped:
            poses = predict(images, camera=CAMERA, on_error="skip")
        assert [pose.source for pose in poses] == [str(good)] * 2
        assert [str(warning.message).split(": ")[0] for warning in skipped] == [
            f"skipped {tmp_path / 'bad.png'}",
            "skipped image 3",
        ]
        with pytest.raises(DepthReadError, match=r"bad\.png"):
            predict(images, camera=CAMERA)
        with pytest.raises(HandPoseError, match="on_error must be raise or skip"):
            predict(images, camera=CAMERA, on_error="ignore")
        with pytest.raises(HandPoseError, match="unit must be"):  # the argument is invalid, not an image
            predict(images, camera=CAMERA, unit="cm", on_error="skip")


def test_a_pose_survives_the_round_trip_through_its_record(estimator: HandPoseEstimator, tmp_path) -> None:
    for image in (EXAMPLES / "open.png", np.zeros((480, 640), np.float32)):
        pose = estimator.predict(image, camera=CAMERA)
        pose.save(tmp_path / "pose.json", force=True)
        again = HandPose.from_dict(json.loads((tmp_path / "pose.json").read_text()))
        assert again.to_dict() == pose.to_dict()
        assert HandPose.from_dict({key: pose.to_dict()[key] for key in pose.to_dict() if key != "warnings"})
        assert np.allclose(again.xyz, pose.xyz, atol=0.006, equal_nan=True)
    record = pose.to_dict()
    wrong = {"status": "ok", "xyz_mm": [[1, 2, 3]], "layout": "mano", "camera": {"fx": 1}, "warnings": ["x"]}
    for key, value in wrong.items():
        with pytest.raises(HandPoseError):
            HandPose.from_dict(record | {key: value})


def test_the_drawing_shows_every_fingertip_at_its_position(estimator: HandPoseEstimator) -> None:
    from handpose.results.overlay import FINGER_COLORS

    depth = read_depth(EXAMPLES / "open.png")
    pose = estimator.predict(depth, camera=CAMERA)
    picture = pose.draw(depth).astype(int)
    for finger, joints in pose.layout.fingers.items():
        u, v = (2 * pose.uvz[joints[-1], :2] + 0.5).round().astype(int)  # the picture is twice as large
        around = picture[v - 3 : v + 4, u - 3 : u + 4].reshape(-1, 3)
        assert np.abs(around - FINGER_COLORS[finger]).sum(1).min() < 12, finger


def test_uncertain_joints_are_drawn_hollow(estimator: HandPoseEstimator) -> None:
    depth = read_depth(EXAMPLES / "open.png")
    pose = estimator.predict(depth, camera=CAMERA)
    errors = np.full(len(pose.layout), 5.0)
    errors[pose.layout.joints.index("middle_tip")] = 25.0
    for name in ("middle_tip", "ring_tip"):
        u, v = (2 * pose.uvz[pose.layout.joints.index(name), :2] + 0.5).round().astype(int)
        inside = replace(pose, error_mm=errors).draw(depth)[v, u]
        assert (inside.max() < 60) == (name == "middle_tip")


@pytest.mark.gpu
def test_a_gpu_predicts_the_same_joints(estimator: HandPoseEstimator) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    on_gpu = HandPoseEstimator.from_pretrained("msra", device="cuda")
    for name in NAMES:
        image = EXAMPLES / f"{name}.png"
        one, other = (e.predict(image, camera=CAMERA).xyz for e in (estimator, on_gpu))
        assert np.abs(one - other).max() < 0.5
