"""Benchmarks, a file each: from the official layout of a data set to images, label maps and class names."""
