"""How the classifiers are trained, and how good they are."""
