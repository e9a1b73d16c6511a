"""The labels CSV, clips with several labels, splits and folds."""
