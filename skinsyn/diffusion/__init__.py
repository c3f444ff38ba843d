"""From a base model to fine-tuned generators, and from those to synthetic images with one seed each."""
