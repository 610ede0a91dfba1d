"""From a folder or hub id to a model that scores or embeds."""
