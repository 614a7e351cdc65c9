"""What goes on inside a trained FAb-Net: frames in, the arrays that the figures show out."""
