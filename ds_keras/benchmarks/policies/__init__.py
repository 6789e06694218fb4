"""What policies lose and cost, over many draws of images."""
