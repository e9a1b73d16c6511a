"""``earful check``: problems of files, labels and splits, and likely label errors.

May import ``data`` and, for its report, ``training.reports.html_clips``; it needs no torch.
"""
