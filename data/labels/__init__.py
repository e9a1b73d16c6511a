"""The labels CSV, multi-label clips, splits and cross-validation folds."""
