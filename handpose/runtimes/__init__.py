"""Runs the networks in PyTorch, ONNX Runtime or OpenVINO."""
