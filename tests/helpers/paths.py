"""Where the repository's folders are."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
SHARED = ROOT.parent / "shared"

REALSENSE_BAG = ROOT / "tests" / "recordings" / "realsense.bag"
"""A recording by the `rs.recorder` of pyrealsense2 2.56.5: later versions write `.db3` files. See `bag_images`."""
