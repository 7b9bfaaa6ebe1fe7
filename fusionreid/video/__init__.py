"""From videos to a gallery: who walks through, as a photo and a feature of each passage."""
