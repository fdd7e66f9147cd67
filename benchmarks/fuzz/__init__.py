"""Inputs that nobody would write, grown by grammars, against the library and the page: `python -m benchmarks.fuzz`."""
