"""The study "Augmenting medical image classifiers with synthetic data from latent diffusion models", to run again."""

__version__ = "0.1.0"
