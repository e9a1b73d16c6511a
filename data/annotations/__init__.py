"""Labels as other tools keep them, read and written: Label Studio, Audacity, Raven, folders, names.

Used while serving and therefore never imports torch, torchaudio, librosa, pandas or scikit-learn.
"""
