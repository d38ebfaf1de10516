"""Measure rendering and training speed in crops per second on this machine. Requires the extra `train`.

Prints a Markdown table.

python benchmarks/training_speed.py [--device cpu] [--batch N] [--repeats 9]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from handpose.geometry.layouts import MSRA21
from handpose.network.config import JGRP2OConfig
from handpose.network.losses import pose_loss
from handpose.network.model import JGRP2O
from handpose.synthetic.hand_file import cached_hand_file
from handpose.synthetic.hand_model import HandModel
from handpose.synthetic.hands import SyntheticHands
from handpose.synthetic.poses import cached_pose_bank


def per_second(call: Callable[[], object], crops: int, device: torch.device, repeats: int) -> float:
    """Return the crops per second, from the median over the repeats after two warm-up calls."""
    times = []
    for _ in range(repeats + 2):
        begin = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begin)
    return crops / float(np.median(times[2:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, help="crops per step; by default, 32 on a CPU and 1024 on a GPU")
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    device = torch.device(options.device)
    batch = options.batch or (32 if device.type == "cpu" else 1024)
    hand = HandModel(cached_hand_file(), device)
    source = SyntheticHands(hand, cached_pose_bank(HandModel(cached_hand_file())), MSRA21, cube=250.0, uv_scale=95.0)
    patches, uvz = source.batch(batch)
    rendered = 4 * batch
    print("| Step | crops/s |\n|---|---|")
    print(f"| render | {per_second(lambda: source.batch(rendered), rendered, device, options.repeats):.0f} |")
    for name, half, layout in (
        ("train, float32", False, torch.contiguous_format),
        ("train, float32, channels-last", False, torch.channels_last),
        ("train, bfloat16, channels-last", True, torch.channels_last),
    ):
        model = JGRP2O(JGRP2OConfig("msra")).to(device).to(memory_format=layout).train()
        optimizer = torch.optim.Adam(model.parameters())

        def step(model: JGRP2O = model, optimizer: torch.optim.Adam = optimizer, half: bool = half) -> None:
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
                outputs = model.stack_outputs(patches)
            optimizer.zero_grad(set_to_none=True)
            pose_loss(outputs, uvz, patches).backward()
            optimizer.step()

        print(f"| {name} | {per_second(step, batch, device, options.repeats):.0f} |")


if __name__ == "__main__":
    main()
