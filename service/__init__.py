"""A released model to answers: the classifier, batches of files, the HTTP service, the commands.

May import ``data`` and ``models``. Nothing here loads torch, torchaudio, librosa, pandas or
scikit-learn; ``cli`` alone reaches up, to list the commands of ``training`` beside its own.
"""
