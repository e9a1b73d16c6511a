"""Serving: the classifier, the Python API, batches of files, the HTTP service and their commands.

May import ``data`` and ``models``. Nothing here loads torch, torchaudio, librosa, pandas or
scikit-learn.
"""
