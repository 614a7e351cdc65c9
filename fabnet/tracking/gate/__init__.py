"""Whether a challenger may replace the champion: rules in gates.yaml, a paired bootstrap over people, a verdict."""
