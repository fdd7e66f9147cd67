"""What a choice is worth: the same runs with and without it, each file a command that ends with one JSON object."""
