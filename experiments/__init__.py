"""Scripts that call the package; the package imports none of them."""
