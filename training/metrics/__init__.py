"""Metrics from predictions: accuracy, F1, calibration."""
