"""The two classifiers of face clips, and where trained ones are kept."""
