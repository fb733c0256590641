"""Restricted Boltzmann machines, deep belief networks, and networks fine-tuned from them."""
