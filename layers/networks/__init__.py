"""Where networks come from."""
