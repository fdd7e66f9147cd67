"""Benchmarks: pictures with ground truth. Nothing under training may import from here."""
