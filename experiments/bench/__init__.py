"""Timings of the parts of the package, one script a part."""
