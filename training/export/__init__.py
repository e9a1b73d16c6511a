"""A checkpoint as one ONNX file."""
