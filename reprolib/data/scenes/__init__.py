"""Generated instance-segmentation scenes: sar_ships, aerial, street, and their writer."""
