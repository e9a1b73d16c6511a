"""Export of a run to one ONNX file."""
