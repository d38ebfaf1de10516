"""What runs the network: PyTorch, ONNX Runtime, OpenVINO."""
