"""Facial emotion recognition from video on Ray: prepare, train, tune, evaluate, serve."""

__version__ = "0.1.0"
