"""Putting a potential into a System."""
