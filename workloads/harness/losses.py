"""What is read of a library's losses, and what its first step cost."""


def read_scalar(loss):
    """A framework's scalar as a number, once it is computed; MXNet's have no ``__float__``."""
    return float(loss.asscalar() if hasattr(loss, "asscalar") else loss)


def warm_seconds(cold, first_step, steps, epochs):
    """Training time had the first step (or, for whole-epoch training, the first epoch) cost what the others did.

    Seconds, or None where one unit was all there was.
    """
    first, units = (epochs[0]["seconds"], len(epochs)) if first_step is None else (first_step, steps)
    return (cold - first) * units / (units - 1) if units > 1 else None
