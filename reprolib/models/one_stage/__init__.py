"""What one-stage detectors share."""
