"""FeatureConfig, and the MFCC and log-mel front end in torch and in numpy."""
