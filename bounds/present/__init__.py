"""What is shown of results: drawn from them alone."""
