"""Models: networks and their layers, the ONNX model file, the registry and the shipped models.

May import ``data``. ``bundle`` and ``registry`` are used in serving and load no torch.
"""
