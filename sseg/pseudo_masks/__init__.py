"""Pseudo-masks: features of an image, clustered. No labels and no captions go in.

`generate` makes those that training learns shapes from; `masker` makes and `result` describes the same for people.
"""
