"""Labels of other tools, read and written: Label Studio, Audacity, Raven, folders, file names.

Used while serving, so it never imports torch, torchaudio, librosa, pandas or scikit-learn.
"""
