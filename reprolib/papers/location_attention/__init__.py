"""Real-time instance segmentation with location attention, on SOLOv2 (Liu and Kong; KSII TIIS, 2024)."""
