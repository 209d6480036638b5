"""Model files: their cards, archives and trust. Nothing of a model runs here."""
