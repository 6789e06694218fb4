"""What everything else builds on: levels and slices, the sliceable layer, the visitor, networks, costs, files."""
