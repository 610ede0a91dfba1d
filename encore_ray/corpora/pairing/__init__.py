"""What a pair is made of: conversations, ratings, labels."""
