"""The sticker world."""
