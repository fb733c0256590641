"""Autoencoders: compress what an agent sees, and tell what is outside the norm."""
