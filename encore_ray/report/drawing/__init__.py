"""What charts are drawn with: markup, numbers as text, scales, places for labels."""
