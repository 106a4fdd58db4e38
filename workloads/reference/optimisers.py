"""The two optimisers, as their papers and most libraries have them."""

import numpy as np


class Momentum:
    """Gradient descent with heavy-ball momentum: v = m·v + g, w = w - lr·v."""

    def __init__(self, params, form):
        self.rate, self.momentum, self.velocity = params.learning_rate, params.momentum, {}

    def update(self, weights, gradients):
        """Change the weights in place."""
        for name, gradient in gradients.items():
            self.velocity[name] = self.momentum * self.velocity.get(name, 0) + gradient
            weights[name] -= self.rate * self.velocity[name]


class Adam:
    """Adam (Kingma and Ba, 2015), in the form that ``form.epsilon`` names, ``form.head_start`` steps ahead.

    In algorithm 1 epsilon is added to the root of the "corrected" second moment. The cheaper order of computation at
    the end of the paper's section 2, which most libraries took over, adds it to the root of the "uncorrected" one.
    """

    def __init__(self, params, form):
        self.rate, self.beta_1, self.beta_2 = params.learning_rate, params.beta_1, params.beta_2
        self.epsilon, self.corrected = params.epsilon, form.epsilon == "corrected"
        self.steps, self.first, self.second = form.head_start, {}, {}

    def update(self, weights, gradients):
        """Change the weights in place."""
        self.steps += 1
        correction = np.sqrt(1 - self.beta_2**self.steps)
        epsilon = self.epsilon if self.corrected else self.epsilon / correction
        for name, gradient in gradients.items():
            first = self.first[name] = self.beta_1 * self.first.get(name, 0) + (1 - self.beta_1) * gradient
            second = self.second[name] = self.beta_2 * self.second.get(name, 0) + (1 - self.beta_2) * gradient**2
            corrected = first / (1 - self.beta_1**self.steps)
            weights[name] -= self.rate * corrected / (np.sqrt(second) / correction + epsilon)
