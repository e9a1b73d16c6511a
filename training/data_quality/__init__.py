"""What is wrong with a labelled set of recordings: files, labels, splits, and likely wrong labels.

May import ``data`` and, for its report, ``training.reports.html_clips``; it needs no torch.
"""
