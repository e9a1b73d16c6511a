"""The model file: its metadata and its ONNX Runtime session."""
