"""Small dense kernels, and rounding that is proven rather than hoped for."""
