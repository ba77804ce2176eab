"""Temperature scaling: one number that makes probabilities honest without changing any prediction.

Guo, Pleiss, Sun, Weinberger (2017), "On calibration of modern neural networks".
"""

import numpy as np
from scipy.optimize import minimize_scalar

from emotion_ray.learning.metrics import mean_loss

LOWEST, HIGHEST = 0.05, 20.0


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature T for which softmax(logits / T) has the lowest mean cross-entropy.

    The loss is convex in 1/T, so the minimum found is the one there is. Where every prediction is right the best T is
    0, and where they are worse than a guess it is infinite: T stays within 0.05 and 20.

    Args:
        logits: float [N, C] of clips that the weights were not fitted to.
        labels: int [N].
    """
    logits = np.asarray(logits, np.float64)
    bounds = (1 / HIGHEST, 1 / LOWEST)
    found = minimize_scalar(lambda inverse: mean_loss(logits * inverse, labels), bounds=bounds, method="bounded")
    return float(1 / found.x)
