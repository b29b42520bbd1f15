"""The site's application, which leaves an open connection behind before gunicorn forks workers."""

from django.core.wsgi import get_wsgi_application

from django_openrouter_auth.session import OpenRouterSession

application = get_wsgi_application()

# A site may call OpenRouter while it starts, a list of models for one.
OpenRouterSession("sk-or-v1-not-a-key-of-anybody", lambda: None).get("key")
