"""Training compressed networks: learned steps, gradual pruning, and what it does to layers."""
