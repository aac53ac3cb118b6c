"""What is on disk: checkpoints of other tools, read as weights and the grid they are on."""
