"""What two-stage detectors share: proposals, RoI heads, box stages, mask branches."""
