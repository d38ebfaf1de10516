"""Closed sets of names that options accept as text, in a module that imports nothing heavy."""

from typing import Literal

LayoutName = Literal["icvl", "nyu", "msra"]
DatasetName = Literal[LayoutName, "records"]
Split = Literal["train", "test"]
Hand = Literal["right", "left"]
HandOrAuto = Literal[Hand, "auto"]
"""Which hand an image shows; `auto` predicts it from the pose network's outputs for the image and its mirror image."""
DEFAULT_HAND: HandOrAuto = "auto"
"""Which hand images show unless the caller specifies it, wherever someone's own images are predicted.

A left hand that is taken for a right one would be wrong by centimeters, often with the status `ok`.
"""
BackendName = Literal["auto", "torch", "onnxruntime", "openvino"]
Precision = Literal["float32", "int8"]
"""Precision of most features and weights of the pose network; `int8` is faster and slightly less accurate."""
Views = Literal[1, 2, 4]
"""Number of views of each patch: the patch itself, with a half turn (2), or with all quarter turns (4)."""
Optimizer = Literal["muon", "adam"]
OnError = Literal["raise", "skip"]
"""What happens when an image cannot be read or predicted: an error is raised, or it is left out with a warning."""
Format = Literal["jsonl", "json", "csv", "npz", "uvd", "parquet", "mcap"]
JointOrder = Literal["mediapipe", "openpose", "mano", "openxr"]
"""Joint orders of other programs: MediaPipe's and OpenPose's 21, smplx's 16 joints and 5 tips of MANO, OpenXR's 26."""
LengthUnit = Literal["mm", "m"]
Frame = Literal["camera", "wrist", "operator"]
"""Frames of keypoints: that of the camera, of the wrist, or of dex-retargeting."""
