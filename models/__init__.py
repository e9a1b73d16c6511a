"""What a model is: one file per network, the zoo that names them, and the released ONNX file.

May import ``data``. ``bundle`` is used while serving and needs onnxruntime and numpy only.
"""
