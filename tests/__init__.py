"""Tests, in the folders of what they test; `helpers` is shared, `browser` drives a real Chromium."""
