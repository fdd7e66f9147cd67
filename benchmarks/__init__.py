"""What is measured beside train.evaluate: each file is a command that ends with one JSON object."""
