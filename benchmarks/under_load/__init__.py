"""A site under load: gunicorn on PostgreSQL, a stand-in for OpenRouter, and its visitors."""
