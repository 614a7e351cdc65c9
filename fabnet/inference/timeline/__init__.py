"""What probes read of the faces of a video over time, and a page that shows it."""
