"""Draw `docs/images/localizer-rooms.jpg`: synthetic rooms, with the cells that lie on a hand in green.

Requires the extra `train`.

python docs/draw_rooms.py
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from handpose.localization.network import CELL, VIEW_FOCAL
from handpose.synthetic.hand_file import cached_hand_file
from handpose.synthetic.hand_model import HandModel
from handpose.synthetic.poses import cached_pose_bank
from handpose.synthetic.rooms import Rooms, hand_targets
from handpose.training.localizer import cell_points

ROWS, COLUMNS, ZOOM = 5, 6, 2


def main() -> None:
    hand = HandModel(cached_hand_file())
    rooms = Rooms(hand, cached_pose_bank(hand), focal=VIEW_FOCAL, size=(96, 128), seed=12)
    views = rooms.batch(ROWS * COLUMNS)
    on_hand, _ = hand_targets(cell_points(views.depth, views.principal), views)
    masks = on_hand.view(-1, 96 // CELL, 128 // CELL)
    tiles = []
    for depth, mask in zip(views.depth.numpy(), masks.numpy(), strict=True):
        shade = 255 - 235 * np.clip(np.log(np.maximum(depth, 1) / 120) / np.log(2500 / 120), 0, 1)
        picture = np.where(depth > 0, shade, 0).astype(np.uint8).repeat(ZOOM, 0).repeat(ZOOM, 1)
        picture = cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
        for row, column in zip(*np.nonzero(mask), strict=True):
            place = (int((column * CELL + CELL // 2) * ZOOM), int((row * CELL + CELL // 2) * ZOOM))
            cv2.circle(picture, place, 1, (0, 230, 0), -1)
        tiles.append(picture)
    grid = np.vstack([np.hstack(tiles[i * COLUMNS : (i + 1) * COLUMNS]) for i in range(ROWS)])
    cv2.imwrite(
        str(Path(__file__).parent / "images" / "localizer-rooms.jpg"), grid, [int(cv2.IMWRITE_JPEG_QUALITY), 70]
    )


if __name__ == "__main__":
    main()
