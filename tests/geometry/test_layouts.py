from __future__ import annotations

import numpy as np
import pytest

from handpose.geometry.layouts import FINGERS, ICVL16, LAYOUTS, MSRA21, NYU14, JointLayout


def test_bones_match_the_published_skeletons() -> None:
    def pairs(layout: JointLayout) -> set[frozenset[int]]:
        return {frozenset(bone) for bone in layout.bones}

    nyu = "0-1 1-13 2-3 3-13 4-5 5-13 6-7 7-13 8-9 9-10 10-13 11-13 12-13"
    assert pairs(NYU14) == {frozenset(map(int, edge.split("-"))) for edge in nyu.split()}
    icvl = {frozenset((0, r)) for r in (1, 4, 7, 10, 13)} | {
        frozenset((r + k, r + k + 1)) for r in (1, 4, 7, 10, 13) for k in (0, 1)
    }
    assert pairs(ICVL16) == icvl
    msra = {frozenset((0, r)) for r in (1, 5, 9, 13, 17)} | {
        frozenset((r + k, r + k + 1)) for r in (1, 5, 9, 13, 17) for k in range(3)
    }
    assert pairs(MSRA21) == msra


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=str)
def test_a_layout_is_a_tree_with_five_fingers_that_end_in_tips(layout: JointLayout) -> None:
    assert len(layout.bones) == len(layout) - 1
    assert len(set(layout.joints)) == len(layout)
    assert all(layout.depth(joint) < len(layout) for joint in range(len(layout)))
    assert tuple(layout.fingers) == FINGERS
    for finger, joints in layout.fingers.items():
        assert layout.joints[joints[-1]] == f"{finger}_tip"
        assert [layout.parents[j] for j in joints[1:]] == list(joints[:-1])


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=str)
def test_adjacency_is_symmetrically_normalized(layout: JointLayout) -> None:
    matrix = layout.adjacency()
    degrees = 1 + np.bincount(np.array(layout.bones).ravel(), minlength=len(layout))
    assert np.allclose(np.diag(matrix), 1 / degrees)
    assert np.allclose(matrix, matrix.T)
    values, vectors = np.linalg.eigh(matrix)
    assert values[-1] == pytest.approx(1.0)
    assert np.allclose(np.abs(vectors[:, -1]), np.sqrt(degrees / degrees.sum()))


@pytest.mark.shared
def test_adjacency_matches_the_original_implementation(reference) -> None:
    assert np.abs(ICVL16.adjacency() - reference("network-icvl.npz")["A"]).max() < 1e-7
