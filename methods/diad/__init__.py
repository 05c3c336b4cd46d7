"""DiAD (He et al., AAAI 2024) from diffusers' parts."""
