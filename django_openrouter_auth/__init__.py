"""Connect each user's OpenRouter account to a Django site."""

__version__ = "0.1.0"
