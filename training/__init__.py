"""From a prepared dataset to a released model: train, evaluate, export.

May import ``data``, ``models`` and ``service`` (the final evaluation uses the serving classifier).
"""
