"""Fidelity of synthetic images: embeddings, distances to real images, memorisation, diversity and skin tone."""
