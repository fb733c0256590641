"""What watches a training: each callback in a file of its own."""
