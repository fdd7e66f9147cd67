"""From masks to scores and labels."""
