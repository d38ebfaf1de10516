"""Joints, cameras and crops: values of numpy and their arithmetic."""
