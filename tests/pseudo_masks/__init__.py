"""Pseudo-masks."""
