"""Networks: S-Seg, its student S-Seg+, the small ViT of the features `mini`, and what their configurations hold."""
