"""From images to frozen features, trained classifiers, and one long table of predictions."""
