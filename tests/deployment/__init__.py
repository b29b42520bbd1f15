"""A site as it runs on the internet: gunicorn, PostgreSQL, and nginx with TLS in front.

Everything is real and on loopback: processes, sockets, certificates. OpenRouter is played by the
sandbox, as a site of its own. Needed are nginx, PostgreSQL and gunicorn; without them the tests are
skipped with the reason, but with CI=true this is a failure::

    tox run -e deployment
"""
