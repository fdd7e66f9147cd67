"""The sticker world: rendered scenes of named things on named materials, whose captions and truth are known."""
