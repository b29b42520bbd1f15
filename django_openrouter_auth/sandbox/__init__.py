"""A stand-in for OpenRouter, so that nobody needs an account or a network to try or to test."""
