"""Bin picking: a magnet on a robot lifts parts, one at a time, out of a disordered pile."""
