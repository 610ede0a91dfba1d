"""A judge behind an OpenAI-compatible API: what it is asked, how, and what its replies are worth."""
