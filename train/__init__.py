"""Everything that makes and judges weights."""
