"""``FeatureConfig``, and the log-mel and MFCC front end in torch and numpy."""
