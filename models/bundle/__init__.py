"""A released model file: its metadata, and its session in ONNX Runtime."""
