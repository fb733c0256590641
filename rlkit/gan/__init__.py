"""Generative adversarial networks: rare data made where learners lack them, judged before use."""
