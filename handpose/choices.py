"""Closed sets of names that options accept, in a module that the command line can import without numpy."""

from typing import Literal

LayoutName = Literal["icvl", "nyu", "msra"]
DatasetName = LayoutName
Split = Literal["train", "test"]
Hand = Literal["right", "left"]
HandOrAuto = Literal[Hand, "auto"]
"""Which hand an image shows; `auto` predicts every candidate as both hands and keeps the less uncertain pose."""
BackendName = Literal["auto", "torch", "onnxruntime", "openvino"]
Optimizer = Literal["muon", "adam"]
Format = Literal["jsonl", "json", "csv", "npz", "uvd"]
