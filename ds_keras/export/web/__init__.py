"""A page that runs a bundle in a browser. ``assets/`` holds its markup, style and scripts."""
