"""Joint orders of other programs, compared with their own tables."""

from __future__ import annotations

import numpy as np
import pytest

from handpose import LAYOUTS, MSRA21
from handpose.errors import HandPoseError
from handpose.geometry.joint_orders import reorder

# The order of `mediapipe.tasks.python.vision.HandLandmark`, and of the figure of OpenPose's documentation.
MEDIAPIPE = [
    "wrist",
    "thumb_cmc",
    "thumb_mcp",
    "thumb_ip",
    "thumb_tip",
    "index_finger_mcp",
    "index_finger_pip",
    "index_finger_dip",
    "index_finger_tip",
    "middle_finger_mcp",
    "middle_finger_pip",
    "middle_finger_dip",
    "middle_finger_tip",
    "ring_finger_mcp",
    "ring_finger_pip",
    "ring_finger_dip",
    "ring_finger_tip",
    "pinky_mcp",
    "pinky_pip",
    "pinky_dip",
    "pinky_tip",
]
# The joints of the right hand in `smplx.joint_names.SMPLH_JOINT_NAMES`, then `smplx.vertex_ids.vertex_ids["mano"]`.
MANO = [
    "wrist",
    "index1",
    "index2",
    "index3",
    "middle1",
    "middle2",
    "middle3",
    "pinky1",
    "pinky2",
    "pinky3",
    "ring1",
    "ring2",
    "ring3",
    "thumb1",
    "thumb2",
    "thumb3",
    "thumb_tip",
    "index_tip",
    "middle_tip",
    "ring_tip",
    "pinky_tip",
]
# `XrHandJointEXT` of the OpenXR specification.
OPENXR = [
    "palm",
    "wrist",
    "thumb_metacarpal",
    "thumb_proximal",
    "thumb_distal",
    "thumb_tip",
    "index_metacarpal",
    "index_proximal",
    "index_intermediate",
    "index_distal",
    "index_tip",
    "middle_metacarpal",
    "middle_proximal",
    "middle_intermediate",
    "middle_distal",
    "middle_tip",
    "ring_metacarpal",
    "ring_proximal",
    "ring_intermediate",
    "ring_distal",
    "ring_tip",
    "little_metacarpal",
    "little_proximal",
    "little_intermediate",
    "little_distal",
    "little_tip",
]

XYZ = np.arange(63.0).reshape(21, 3)


@pytest.mark.parametrize(
    ("order", "names", "indices"),
    [
        ("mediapipe", MEDIAPIPE, [0, *range(17, 21), *range(1, 17)]),
        ("mano", MANO, [0, 1, 2, 3, 5, 6, 7, 13, 14, 15, 9, 10, 11, 17, 18, 19, 20, 4, 8, 12, 16]),
        (
            "openxr",
            OPENXR,
            [None, 0, *range(17, 21), *(i for f in range(4) for i in (None, *range(4 * f + 1, 4 * f + 5)))],
        ),
    ],
)
def test_msra_joints_in_the_order_of(order: str, names: list[str], indices: list[int | None]) -> None:
    keypoints = reorder(XYZ, MSRA21, order)  # type: ignore[arg-type]
    assert list(keypoints.names) == names
    for xyz, measured, index in zip(keypoints.xyz, keypoints.measured, indices, strict=True):
        assert measured == (index is not None)
        np.testing.assert_array_equal(xyz, np.full(3, np.nan) if index is None else XYZ[index])


def test_openpose_has_the_order_of_mediapipe() -> None:
    np.testing.assert_array_equal(reorder(XYZ, MSRA21, "openpose").xyz, reorder(XYZ, MSRA21, "mediapipe").xyz)


def test_the_enum_of_mediapipe() -> None:
    vision = pytest.importorskip("mediapipe.tasks.python.vision.hand_landmarker")
    assert [landmark.name.lower() for landmark in vision.HandLandmark] == MEDIAPIPE


def test_the_tables_of_smplx() -> None:
    names = pytest.importorskip("smplx.joint_names").SMPLH_JOINT_NAMES
    tips = pytest.importorskip("smplx.vertex_ids").vertex_ids["mano"]
    joints = ["wrist", *(name.removeprefix("right_") for name in names[37:52])]
    assert [*joints, *(f"{finger}_tip" for finger in tips)] == MANO


def test_joints_that_a_layout_lacks_are_masked() -> None:
    nyu = reorder(np.ones((14, 3)), LAYOUTS["nyu"], "mediapipe")
    assert {name for name, measured in zip(nyu.names, nyu.measured, strict=True) if measured} == {
        *("thumb_mcp", "thumb_ip", "thumb_tip", "pinky_pip", "pinky_tip"),
        *(f"{finger}_finger_{part}" for finger in ("index", "middle", "ring") for part in ("pip", "tip")),
    }
    assert np.isnan(nyu.xyz[~nyu.measured]).all()
    assert not reorder(np.ones((16, 3)), LAYOUTS["icvl"], "mano").measured.any()


def test_anatomical_names_of_the_thumb() -> None:
    assert MSRA21.index("thumb_cmc") == MSRA21.index("thumb_mcp") == 17
    assert MSRA21.index("thumb_ip") == 19
    for kind in (HandPoseError, KeyError):
        with pytest.raises(kind, match=r"^'thumb_cmc' is not a joint of the nyu layout"):
            LAYOUTS["nyu"].index("thumb_cmc")


def test_an_unknown_order() -> None:
    with pytest.raises(HandPoseError, match="must be one of mediapipe, openpose, mano, openxr"):
        reorder(XYZ, MSRA21, "coco")  # type: ignore[arg-type]
