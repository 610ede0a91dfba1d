"""The rules that matter to each pair, and the labels that they give."""
