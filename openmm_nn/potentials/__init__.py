"""Potentials: loading, exporting and evaluating them."""
