"""What detectors with learned queries share."""
