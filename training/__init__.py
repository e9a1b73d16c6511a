"""Arrays to a released model: fit, evaluate, export.

May import ``data``, ``models`` and ``service`` (the final evaluation uses the serving classifier).
"""
