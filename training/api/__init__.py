"""The Python API of training: ``earful.prepare``, ``train``, ``export`` and ``evaluate``.

The commands of these names call the same functions.
"""
