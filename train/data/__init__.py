"""Data: the rendered sticker world and real image-text sets."""
