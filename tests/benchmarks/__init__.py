"""The package of benchmarks."""
