"""The renderer and the hand model, compared with closed forms; tests of the hand require the extra `train`."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from handpose.geometry.layouts import LAYOUTS, MSRA21, JointLayout
from handpose.synthetic.annotation import joint_weights
from handpose.synthetic.hand_model import HandModel
from handpose.synthetic.render import rasterize
from handpose.synthetic.sensor import simulate_sensor
from handpose.synthetic.skeleton import BONES, FINGER_NAMES, LANDMARKS, PARENTS
from handpose.training.transfer import NEAREST_JOINTS


def ball_mesh(steps: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A closed sphere of radius 1: vertices (V, 3) and faces (F, 3), counter-clockwise from outside."""
    polar, around = np.meshgrid(np.linspace(0, np.pi, steps + 1), np.arange(2 * steps) * np.pi / steps, indexing="ij")
    vertices = np.stack([np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)], -1)
    index = np.arange(vertices[..., 0].size).reshape(polar.shape)
    a, b = index[:-1], index[1:]
    c, d = np.roll(a, -1, 1), np.roll(b, -1, 1)
    faces = np.concatenate([np.stack([a, b, c], -1), np.stack([c, b, d], -1)]).reshape(-1, 3)
    return torch.from_numpy(vertices.reshape(-1, 3)).float(), torch.from_numpy(faces)


@pytest.mark.parametrize("distance", [150.0, 500.0, 1200.0])
def test_a_rendered_ball_matches_the_closed_form_without_holes(distance: float) -> None:
    unit, faces = ball_mesh(48)
    center, radius, size, focal = torch.tensor([20.0, -10.0, distance]), 50.0, 96, 96 * distance / 250
    depth = rasterize((unit * radius + center)[None], faces, torch.tensor([focal]), torch.tensor([[40.0, 50.0]]), size)[
        0
    ]
    v, u = np.indices((size, size))
    rays = np.stack([(u - 40.0) / focal, (v - 50.0) / focal, np.ones_like(u)], -1)
    along, squared, c = rays @ center.numpy(), (rays**2).sum(-1), float(center @ center) - radius**2
    root = along**2 - squared * c
    expected = np.where(root > 0, (along - np.sqrt(np.maximum(root, 0))) / squared, np.inf)
    # The mesh lies slightly inside the sphere: it must have no holes, and nothing may lie outside.
    assert np.isfinite(depth.numpy()[root > squared * 200]).all()
    assert np.isinf(depth.numpy()[root <= 0]).all()
    both = np.isfinite(depth.numpy()) & (root > squared * 400)
    assert np.abs(depth.numpy()[both] - expected[both]).max() < 0.5


def test_the_nearer_surface_is_visible_in_any_order() -> None:
    unit, faces = ball_mesh(16)
    near, far = (unit * 30 + torch.tensor([0.0, 0.0, z]) for z in (400.0, 600.0))
    focal, principal = torch.tensor([150.0, 150.0]), torch.full((2, 2), 47.5)
    first, second = (
        rasterize(torch.stack(order), faces, focal, principal, 96, torch.tensor([0, 0]), 1)
        for order in ([near, far], [far, near])
    )
    assert torch.equal(first, second)
    assert first[0, 48, 48] == pytest.approx(370.0, abs=1.0)


def test_triangles_of_all_sizes_are_rendered_alike() -> None:
    """A slanted plane is the same with few or many triangles."""
    depths = []
    for cells in (1, 7, 40):
        grid = torch.linspace(-400, 400, cells + 1)
        y, x = torch.meshgrid(grid, grid, indexing="ij")
        vertices = torch.stack([x, y, 600 + 0.4 * x - 0.2 * y], -1).reshape(1, -1, 3)
        index = torch.arange((cells + 1) ** 2).reshape(cells + 1, cells + 1)
        a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
        faces = torch.cat([torch.stack([a, c, b], -1).reshape(-1, 3), torch.stack([b, c, d], -1).reshape(-1, 3)])
        depths.append(rasterize(vertices, faces, torch.tensor([120.0]), torch.full((1, 2), 47.5), 96)[0])
    for depth in depths:
        assert depth.isfinite().all()
        assert (depth - depths[0]).abs().max() < 0.05


def test_a_sensor_preserves_the_surface_and_is_reproducible() -> None:
    depth = torch.full((64, 96, 96), torch.inf)
    depth[:, 20:76, 20:76] = 600.0

    def sensed(seed: int) -> torch.Tensor:
        return simulate_sensor(depth, torch.full((64,), 2.6), torch.Generator().manual_seed(seed))

    out = sensed(0)
    assert torch.equal(out, sensed(0))
    assert not torch.equal(out, sensed(1))
    inner = out[:, 30:66, 30:66]
    values = inner[inner.isfinite()]
    assert (values - 600.0).abs().median() < 3.0
    assert inner.isfinite().float().mean() > 0.9
    assert out[:, :8].isinf().all()  # no depth values far from any surface


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda layout: layout.name)
def test_joints_are_weighted_means_of_landmarks(layout: JointLayout) -> None:
    weights = joint_weights(layout)
    assert torch.allclose(weights.sum(1), torch.ones(len(layout)))
    assert ((weights > 0).sum(1) >= 1).all()


def test_fingertips_of_msra_are_those_of_the_mesh() -> None:
    weights = joint_weights(MSRA21)
    assert (weights >= 0).all()
    for finger in FINGER_NAMES:
        tip = weights[MSRA21.joints.index(f"{finger}_tip")]
        assert tip[LANDMARKS.index(f"{finger}_tip")] == 1.0


@pytest.mark.slow
class TestHand:
    def test_the_mesh_is_closed_and_of_human_size(self, hand: HandModel) -> None:
        edges = torch.cat([hand.faces[:, [0, 1]], hand.faces[:, [1, 2]], hand.faces[:, [2, 0]]])
        existing = {tuple(edge) for edge in edges.tolist()}
        assert all((b, a) in existing for a, b in existing)
        landmarks = hand.points(hand.coefficients)[:, hand.vertices :]
        length = (landmarks[:, LANDMARKS.index("middle_tip")] - landmarks[:, 0]).norm(dim=1)
        assert 120 < length.min() < 165
        assert 200 < length.max() < 250

    def test_posing_preserves_bone_lengths_and_bends_toward_the_palm(self, hand: HandModel) -> None:
        angles = torch.zeros(2, len(BONES), 3)
        angles[:, :, 0] = hand.rest_flexion
        for finger in FINGER_NAMES[1:]:
            for segment, degrees in zip((1, 2, 3), (70.0, 90.0, 50.0), strict=True):
                angles[1, BONES.index(f"{finger}_{segment}"), 0] = degrees
        shape = hand.coefficients[:1].expand(2, -1)
        vertices, landmarks = hand.pose(shape, angles)
        rest = hand.points(shape)
        assert torch.allclose(vertices[0], rest[0, : hand.vertices], atol=1e-2)
        for bone, parent in enumerate(PARENTS):
            if parent >= 0:
                length = (landmarks[:, bone] - landmarks[:, parent]).norm(dim=1)
                assert length[0] == pytest.approx(length[1].item(), abs=1e-2)
        # The fingertips of a fist lie in front of the palm and near it.
        tips = [LANDMARKS.index(f"{finger}_tip") for finger in FINGER_NAMES[1:]]
        knuckles = landmarks[1, [LANDMARKS.index(f"{finger}_1") for finger in FINGER_NAMES[1:]]]
        across = knuckles[0] - knuckles[3]
        palm_front = torch.linalg.cross(across, knuckles.mean(0) - landmarks[1, 0])
        assert ((landmarks[1, tips] - knuckles) @ palm_front / palm_front.norm() > 15.0).all()
        assert ((landmarks[1, tips] - knuckles).norm(dim=1) < 60.0).all()

    @pytest.mark.parametrize(
        ("name", "medians", "each", "together"),
        [
            # The proportions of the public test labels, in mm, and with NYU's the width of the wrist.
            ("icvl", [30, 31, 25, 57, 29, 19, 54, 34, 22, 45, 31, 21, 43, 23, 19], 0.05, 0.02),
            ("nyu", [43, 72, 50, 75, 57, 81, 51, 82, 25, 49, 71, 81, 81, 35], 0.08, 0.04),
        ],
    )
    def test_joints_have_the_proportions_of_the_labels(
        self, hand: HandModel, name: str, medians: list[float], each: float, together: float
    ) -> None:
        from handpose.synthetic.poses import draw_angles

        layout = LAYOUTS[name]
        angles = draw_angles(1500, torch.Generator().manual_seed(5))
        landmarks = hand.landmarks(hand.mean[hand.vertices :].expand(len(angles), -1, -1), angles)
        joints = joint_weights(layout) @ landmarks
        ends = [*layout.bones, (11, 12)] if name == "nyu" else layout.bones
        lengths = torch.stack([(joints[:, a] - joints[:, b]).norm(dim=1).median() for a, b in ends])
        ratio = (lengths / torch.tensor(medians)).log()
        ratio -= ratio.mean()
        assert ratio.abs().max() < each
        assert ratio.abs().mean() < together

    @pytest.mark.parametrize("layouts", NEAREST_JOINTS)
    def test_the_nearest_joints_of_other_layouts_are_those_of_the_mean_hand(
        self, hand: HandModel, layouts: tuple[str, str]
    ) -> None:
        """The mean of the few shapes here is not exactly the hand that the table was computed with."""
        landmarks = hand.mean[hand.vertices :]
        old, new = (joint_weights(LAYOUTS[name]).to(landmarks) @ landmarks for name in layouts)
        distances = torch.cdist(new, old)
        chosen = distances.gather(1, torch.tensor(NEAREST_JOINTS[layouts])[:, None])[:, 0]
        assert (chosen <= distances.amin(dim=1) + 1.0).all()  # mm

    def test_contacts_are_resolved(self, hand: HandModel) -> None:
        from handpose.synthetic.contacts import draw_pinches, resolve_contacts
        from handpose.synthetic.joint_limits import limits
        from handpose.synthetic.poses import draw_angles

        generator = torch.Generator().manual_seed(0)
        angles = draw_angles(128, generator)
        for finger, sign in (("index", 1.0), ("middle", -1.0)):  # crossed one way, then the other
            angles[:64, BONES.index(f"{finger}_1"), 1] = 18.0 * sign
            angles[64:, BONES.index(f"{finger}_1"), 1] = -18.0 * sign
        resolved = resolve_contacts(hand, angles, draw_pinches(128, generator), wide=False)
        low, high = limits(wide=False)
        assert ((resolved >= low) & (resolved <= high)).all()

        def overlaps(poses: torch.Tensor) -> int:
            """Counts the phalanges of different fingers whose middles are closer than the width of a finger."""
            landmarks = hand.landmarks(hand.mean[hand.vertices :].expand(len(poses), -1, -1), poses)
            chains = [[*(f"{f}_{s}" for s in (1, 2, 3)), f"{f}_tip"] for f in FINGER_NAMES]
            ids = torch.tensor([[[LANDMARKS.index(n) for n in pair] for pair in itertools.pairwise(c)] for c in chains])
            middles = landmarks[:, ids].mean(-2).flatten(1, 2)  # (N, 15, 3)
            owner = torch.arange(len(FINGER_NAMES)).repeat_interleave(3)
            close = (torch.cdist(middles, middles) < 11.0) & (owner[:, None] != owner)
            return int(close.sum()) // 2

        assert overlaps(angles) >= 8
        assert overlaps(resolved) < 0.3 * overlaps(angles)

    def test_crops_and_frames_show_the_joints(self, hand: HandModel) -> None:
        from handpose.geometry.camera import Camera
        from handpose.synthetic.hands import SceneRange, SyntheticHands
        from handpose.synthetic.poses import draw_angles

        poses = draw_angles(32, torch.Generator().manual_seed(1))
        bare = SceneRange(
            distance=(400, 600), half_view=(0.2, 0.2), body=0, table=0, held=0, occluder=0, second_hand=0, border=0
        )

        def source() -> SyntheticHands:
            return SyntheticHands(hand, poses, MSRA21, cube=250.0, uv_scale=95.0, scenes=bare, seed=3)

        patches, uvz = source().batch(64)
        again, _ = source().batch(64)
        assert torch.equal(patches, again)
        assert patches.shape == (64, 1, 96, 96)
        assert patches.min() >= -1
        assert patches.max() == 1
        # Knuckles lie inside the hand: in nearly all crops, the visible surface is slightly in front of them.
        joint = uvz[:, MSRA21.joints.index("middle_mcp")]
        u, v = (joint[:, :2] * 95).round().long().clamp(0, 95).T
        surface = patches[torch.arange(64), 0, v, u]
        behind = (joint[:, 2] - surface) * 125.0
        assert ((behind > 0) & (behind < 60)).float().mean() > 0.8

        camera = Camera(400.0, 400.0, 319.5, 239.5, 640, 480)
        depth, xyz, seen = source().frames(8, camera)
        assert (seen > 0.3).all()  # only holes and the forearm hide these hands
        assert depth.shape == (8, 480, 640)
        for image, joints in zip(depth.numpy(), xyz.numpy(), strict=True):
            u, v, _ = camera.project(joints[MSRA21.joints.index("middle_mcp")]).round().astype(int)
            around = image[v - 2 : v + 3, u - 2 : u + 3]  # a single pixel may be a hole
            assert 0 < around.max() < joints[:, 2].max() + 30
