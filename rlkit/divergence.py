"""What is told of a training that diverges: a warning where it kept weights, an error elsewhere."""


class DivergenceWarning(UserWarning):
    """Training diverged or collapsed; earlier weights were kept."""


class DivergenceError(ArithmeticError):
    """Training diverged or collapsed, and came to nothing that is worth keeping."""
