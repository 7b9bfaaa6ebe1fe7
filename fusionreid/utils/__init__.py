"""Small and general helpers, with nothing of re-identification in them."""
