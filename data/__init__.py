"""Files to checked arrays: labels, audio, splits, features, datasets, synthetic speech.

May import the standard library and third-party packages, and nothing else of this project.
``errors``, ``label_sets``, ``labels``, ``audio``, ``containers``, ``wav``, ``windows``,
``features``, ``staging`` and ``annotations`` are used while serving and therefore never import
torch, torchaudio, librosa, pandas or scikit-learn.
"""
