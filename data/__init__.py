"""Files to checked arrays: labels, audio, splits, features, datasets, synthetic speech.

May import the standard library and third-party packages, and nothing else of this project.
``errors``, ``atomic_write``, ``audio``, ``annotations``, ``features.config``,
``labels.labels_csv`` and ``labels.multilabel`` are used while serving and never import torch,
torchaudio, librosa, pandas or scikit-learn; nor does ``features.numpy_log_mel``, for ``check``.
"""
