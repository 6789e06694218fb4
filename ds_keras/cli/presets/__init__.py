"""Commands that show trained presets, measure them again, or add to them."""
