"""The HOG baseline: features and logistic regression."""
