"""Scripts that make the bundled potential: data, training, export and validation."""
